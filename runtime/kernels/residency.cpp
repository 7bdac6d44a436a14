#include "kernels/residency.h"

#include <fmt/format.h>

#include <string>

#include "kernels/halide_hooks.h"

namespace kindling::kernels {
namespace {

// First and last byte but one of what a buffer covers.
struct Range {
  std::byte* begin;
  std::byte* end;
};
Range range_of(const halide_buffer_t& b) {
  std::int64_t last = 0;
  for (int i = 0; i < b.dimensions; ++i) {
    if (b.dim[i].extent == 0) return {nullptr, nullptr};
    last += std::int64_t{b.dim[i].extent - 1} * b.dim[i].stride;
  }
  auto* begin = reinterpret_cast<std::byte*>(b.host);
  return {begin, begin + (last + 1) * b.type.bytes()};
}

bool dense(const halide_buffer_t& b) {
  std::int64_t elements = 1;
  for (int i = 0; i < b.dimensions; ++i) elements *= b.dim[i].extent;
  const Range r = range_of(b);
  return elements * b.type.bytes() == r.end - r.begin;
}

}  // namespace

Residency::Residency(Execution& execution) : execution_(&execution) {
  if (execution.target == nullptr || !execution.target->gpu) return;
  device_ = device_of(*execution.target);
  outer_ = execution.residency;
  execution.residency = this;
  // Intermediate results of kernels are of the same few sizes, step after step.
  halide_reuse_device_allocations(nullptr, true);
}

Residency::~Residency() {
  try {
    finish();
  } catch (const Error&) {  // NOLINT(bugprone-empty-catch): documented
  }
  if (device_ != nullptr) execution_->residency = outer_;
}

void Residency::keep(Role role, const void* data, std::int64_t bytes) {
  if (device_ == nullptr || bytes == 0 || find(data) != nullptr) return;
  constexpr std::int64_t most = 0x7fffffff;
  if (bytes > most) return;  // no kernel takes it in one piece
  Array& a = arrays_.emplace_back();
  a.begin = static_cast<std::byte*>(const_cast<void*>(data));
  a.bytes = bytes;
  a.role = role;
  a.extent = {0, static_cast<std::int32_t>(bytes), 1};
  a.buffer.host = reinterpret_cast<std::uint8_t*>(a.begin);
  a.buffer.type = halide_type_of<std::uint8_t>();
  a.buffer.dimensions = 1;
  a.buffer.dim = &a.extent;
  a.buffer.set_host_dirty(role != Role::scratch);
}

Residency::Array* Residency::find(const void* data) {
  for (Residency* r = this; r != nullptr; r = r->outer_) {
    for (Array& a : r->arrays_)
      if (a.begin == data) return &a;
  }
  return nullptr;
}

void Residency::to_host(Array& array) {
  if (!array.buffer.device_dirty()) return;
  CallState state;
  if (halide_copy_to_host(&state, &array.buffer) != 0) {
    throw Error(ErrorCode::kernel,
                fmt::format("{}: {} bytes did not come back from the device: {}", target(), array.bytes, state.error));
  }
}

void Residency::to_device(CallState& state, Array& array) {
  if (halide_copy_to_device(&state, &array.buffer, device_) != 0) {
    throw Error(ErrorCode::kernel,
                fmt::format("{}: the device did not take {} bytes: {}", target(), array.bytes, state.error));
  }
}

void Residency::release(Array& array) {
  CallState state;
  if (array.buffer.device != 0) halide_device_free(&state, &array.buffer);
}

void Residency::fetch(const void* data) {
  if (Array* a = device_ == nullptr ? nullptr : find(data)) to_host(*a);
}

void Residency::changed(const void* data) {
  Array* a = device_ == nullptr ? nullptr : find(data);
  if (a == nullptr) return;
  a->buffer.set_device_dirty(false);
  a->buffer.set_host_dirty();
}

void Residency::finish() {
  std::deque<Array> arrays;
  arrays.swap(arrays_);
  std::string complaint;
  for (Array& a : arrays) {
    try {
      if (a.role == Role::result) to_host(a);
    } catch (const Error& error) {
      complaint = error.what();
    }
    release(a);
  }
  if (!complaint.empty()) throw Error(ErrorCode::kernel, complaint);
}

void Residency::attach(CallState& state, Buffer& buffer) {
  halide_buffer_t& raw = *buffer.raw();
  const Range range = range_of(raw);
  if (range.begin == nullptr) return;
  const bool writes_only = buffer.use() == Buffer::Use::out || buffer.use() == Buffer::Use::out_in_place;
  Array* a = find(raw.host);
  if (a == nullptr || range.end - range.begin > a->bytes) {
    // A part of an array, which the kernel gets from the host.
    for (Residency* r = this; r != nullptr; r = r->outer_) {
      for (Array& other : r->arrays_) {
        if (range.begin >= other.begin + other.bytes || range.end <= other.begin) continue;
        to_host(other);
        if (buffer.use() != Buffer::Use::in) other.buffer.set_host_dirty();
      }
    }
    return;
  }
  // What is overwritten whole need not be copied in first.
  if (writes_only && range.end - range.begin == a->bytes && dense(raw)) a->buffer.set_host_dirty(false);
  to_device(state, *a);
  raw.device = a->buffer.device;
  raw.device_interface = a->buffer.device_interface;
  raw.set_host_dirty(false);
  raw.set_device_dirty(a->buffer.device_dirty() && !writes_only);
}

bool Residency::detach(CallState& state, Buffer& buffer, bool succeeded, int& status) {
  halide_buffer_t& raw = *buffer.raw();
  Array* a = raw.device == 0 ? nullptr : find(raw.host);
  if (a == nullptr || a->buffer.device != raw.device) return false;
  if (buffer.use() != Buffer::Use::in && succeeded) {
    // A stage of the kernel may have run on the host.
    if (raw.host_dirty()) status = halide_copy_to_device(&state, &raw, device_);
    a->buffer.set_device_dirty();
  }
  raw.device = 0;
  raw.device_interface = nullptr;
  return true;
}

}  // namespace kindling::kernels
