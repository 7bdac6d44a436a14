// Lists of numbers on the command line.
#pragma once

#include <string>
#include <vector>

namespace kindling::tools {

/// "0.5,1,2" are those numbers, "1:3:0.5" the range 1, 1.5, ... up to 3 (the end included up to rounding), and both may
/// be joined by ','. Throws Error{usage} naming `option` for what does not parse, steps that do not lead from the first
/// number to the last, and more than 100,000 numbers.
std::vector<double> read_numbers(const std::string& option, const std::string& text);
/// The same for whole numbers.
std::vector<int> read_integers(const std::string& option, const std::string& text);

}  // namespace kindling::tools
