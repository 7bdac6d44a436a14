// What a computation must remember to go on where it stopped: arrays of floats and numbers, by name, written and read
// by one and the same function.
#pragma once

#include <kindling/weights_file.h>

#include <cstdint>
#include <span>
#include <string>

namespace kindling {

class StateArchive {
 public:
  virtual ~StateArchive() = default;
  virtual void values(const std::string& name, std::span<float> values) = 0;
  virtual void count(const std::string& name, std::int64_t& value) = 0;
  /// Exact to the bit, infinities included.
  virtual void number(const std::string& name, double& value) = 0;
};

class StateWriter final : public StateArchive {
 public:
  explicit StateWriter(Weights& state) : state_(state) {}
  void values(const std::string& name, std::span<float> values) override;
  void count(const std::string& name, std::int64_t& value) override;
  void number(const std::string& name, double& value) override;

 private:
  Weights& state_;
};

/// Throws Error{bad_input} naming what is missing or has another size; `origin` is the file's name.
class StateReader final : public StateArchive {
 public:
  StateReader(const Weights& state, std::string origin) : state_(state), origin_(std::move(origin)) {}
  void values(const std::string& name, std::span<float> values) override;
  void count(const std::string& name, std::int64_t& value) override;
  void number(const std::string& name, double& value) override;

 private:
  const std::string& text(const std::string& name) const;

  const Weights& state_;
  std::string origin_;
};

}  // namespace kindling
