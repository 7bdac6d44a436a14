// The limits of the machine, measured: how fast can this core multiply and add, how fast does memory stream?
#pragma once

#include <string>
#include <vector>

namespace kindling::bench {

/// One measurement of the multiply-add rate in flops per second (a multiply-add counts two), all `threads` at once, for
/// some 2 ms. `isa` is one of multiply_add_isas().
double multiply_add_rate(const std::string& isa, int threads);
/// What this processor can run of "sse", "avx2", "avx512", the widest last.
const std::vector<std::string>& multiply_add_isas();

enum class Stream { read, copy, triad };
/// One measurement of bytes read plus bytes written per second over arrays of 64 MiB, all `threads` at once.
/// triad is a = b + s * c; a write counts once, though the cache may read the line first.
double stream_rate(Stream kind, int threads);
const char* to_string(Stream kind);

}  // namespace kindling::bench
