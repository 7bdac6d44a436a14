#include <kindling/tensor.h>

#include "support/catch.h"

using namespace kindling;

TEST_CASE("a tensor is zero, aligned and knows its shape", "[tensor]") {
  Tensor t({3, 5});
  CHECK(t.size() == 15);
  CHECK(reinterpret_cast<std::uintptr_t>(t.data()) % 64 == 0);
  for (const float v : t.flat()) CHECK(v == 0);
  CHECK(shape_string(t.shape()) == "3x5");
  Tensor copy = t.clone();
  copy.flat()[0] = 1;
  CHECK(t.flat()[0] == 0);
  CHECK(Tensor({0, 4}).empty());
}

TEST_CASE("impossible shapes are refused", "[tensor]") {
  CHECK_THROWS_AS(Tensor({-1}), Error);
  CHECK_THROWS_AS(Tensor(std::vector<std::int64_t>{}), Error);
  CHECK_THROWS_AS(Tensor({1, 2, 3, 4, 5}), Error);
  CHECK_THROWS_AS(Tensor({std::int64_t{1} << 40, std::int64_t{1} << 40}), Error);
}

TEST_CASE("views address rows, blocks and strided matrices", "[tensor]") {
  Tensor t({4, 6});
  for (std::int64_t i = 0; i < 24; ++i) t.data()[i] = static_cast<float>(i);
  const ConstTensorView v = std::as_const(t).view();
  CHECK(v(2, 3) == 15);
  CHECK(v.rows(1, 2)(1, 0) == 12);
  CHECK(v.contiguous());
  const TensorView block(t.data() + 2, 4, 3, 6);
  CHECK(block(1, 0) == 8);
  CHECK_FALSE(block.contiguous());
  CHECK_THROWS_AS(block.flat(), Error);
  CHECK_THROWS_AS(v.rows(3, 2), Error);
  const float data[24] = {};
  const ConstTensorView cube(data, {2, 3, 4});
  CHECK(cube.cols() == 12);
  CHECK(cube.matrix().rank() == 2);
}
