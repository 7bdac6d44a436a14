#!/usr/bin/env python3
"""PyTorch, eager and compiled, on the rows of convolution, pooling and batch normalisation: see torch_bench.py for how
to install and run it. The rows of passes over matrices and vectors: torch_passes.py.

Images are channels last, as those of kindling-bench. Gradients are the functions that autograd would call, without its
bookkeeping.
"""

import math
import re
from pathlib import Path

import torch
import torch_bench
import torch_passes
from torch.nn import functional

BATCH = 100
UNIT = torch_bench.EPSILON / 2  # most that one rounding does
aten = torch.ops.aten


def shapes_of(header, name):
    """The shapes of bench/shapes/<header>, so that there is one list."""
    text = (Path(__file__).parent.parent / "shapes" / header).read_text()
    found = re.findall(name + r"\{([\d, ]+)\}", text)
    if not found:
        raise SystemExit(f"torch_layers: no shapes found in bench/shapes/{header}")
    return [tuple(map(int, s.split(","))) for s in found]


def uniform(*shape, seed, scale=1.0):
    values = (torch.rand(*shape, generator=torch.Generator().manual_seed(seed)) * 2 - 1) * scale
    return values.to(memory_format=torch.channels_last) if len(shape) == 4 else values


class Layer:
    flops = 0

    def function(self):
        return self.apply

    def wanted(self, what):
        """Right answers in float64, and the sizes to which tolerances are relative; once for both contestants."""
        self.known = getattr(self, "known", None) or what()
        return self.known


class Convolution(Layer):
    def __init__(self, channels_in, channels_out, size):
        self.shape = f"{BATCH}x{size}x{channels_in}to{channels_out}"
        self.flops = 2 * BATCH * size * size * channels_in * channels_out * 9
        self.x = uniform(BATCH, channels_in, size, size, seed=21)
        self.w = uniform(channels_out, channels_in, 3, 3, seed=22, scale=1 / math.sqrt(9 * channels_in))
        self.b = uniform(channels_out, seed=23)
        self.dz = uniform(BATCH, channels_out, size, size, seed=24)

    @staticmethod
    def gradients(dz, x, w, mask):
        return aten.convolution_backward(dz, x, w, [w.shape[0]], [1, 1], [1, 1], [1, 1], False, [0, 0], 1, mask)

    def exact(self, mask):
        tensors = [t.double() for t in (self.dz, self.x, self.w)]
        return self.gradients(*tensors, mask), self.gradients(*[t.abs() for t in tensors], mask)


class ConvolutionForward(Convolution):
    kernel = "conv2d_forward"

    @staticmethod
    def apply(x, w, b):
        return torch.relu(functional.conv2d(x, w, b, padding=1))

    def arguments(self):
        return self.x, self.w, self.b

    def verify(self, call):
        x, w, b = self.x.double(), self.w.double(), self.b.double()
        sizes = x.abs(), w.abs(), b.abs()
        exact, size = self.wanted(lambda: (self.apply(x, w, b), functional.conv2d(*sizes, padding=1)))
        torch_bench.check("y", call(), exact, torch_bench.rounding(9 * self.x.shape[1]) * size)


class ConvolutionInputGradient(Convolution):
    kernel = "conv2d_input_gradient"

    def apply(self, dz, x, w):
        return self.gradients(dz, x, w, [True, False, False])[0]

    def arguments(self):
        return self.dz, self.x, self.w

    def verify(self, call):
        exact, size = self.wanted(lambda: self.exact([True, False, False]))
        torch_bench.check("dx", call(), exact[0], torch_bench.rounding(9 * self.w.shape[0]) * size[0])


class ConvolutionWeightGradient(Convolution):
    kernel = "conv2d_weight_gradient"

    def apply(self, dz, x, w):
        return self.gradients(dz, x, w, [False, True, True])[1:]

    def arguments(self):
        return self.dz, self.x, self.w

    def verify(self, call):
        exact, size = self.wanted(lambda: self.exact([False, True, True]))
        terms = BATCH * self.x.shape[2] * self.x.shape[3]
        for what, found, i in zip(("dw", "db"), call(), (1, 2)):
            torch_bench.check(what, found, exact[i], torch_bench.rounding(terms) * size[i])


class Pool(Layer):
    def __init__(self, size, channels, window, stride, padding):
        self.shape = f"{BATCH}x{size}x{channels}w{window}s{stride}p{padding}"
        self.window, self.stride, self.padding = window, stride, padding
        self.x = uniform(BATCH, channels, size, size, seed=51)
        out = (size + 2 * padding - window) // stride + 1
        self.dy = uniform(BATCH, channels, out, out, seed=52)
        self.covering = math.ceil(window / stride) ** 2  # windows over a pixel, at most
        self.index = self.maximum(self.x)[1]

    def maximum(self, x):
        return functional.max_pool2d(x, self.window, self.stride, self.padding, return_indices=True)

    def mean(self, x):
        return functional.avg_pool2d(x, self.window, self.stride, self.padding)

    def arguments(self):
        return (self.x,)


class MaxPoolForward(Pool):
    kernel = "max_pool_forward"

    def apply(self, x):
        return self.maximum(x)

    def verify(self, call):
        y, index = call()
        torch_bench.check("y", y, self.maximum(self.x.double())[0], 0)
        torch_bench.check("x at the indices", self.x.flatten(2).gather(2, index.flatten(2)).view_as(y), y.double(), 0)


class MaxPoolGradient(Pool):
    kernel = "max_pool_gradient"

    def apply(self, dy, x, index):
        sizes = [[v, v] for v in (self.window, self.stride, self.padding, 1)]
        return aten.max_pool2d_with_indices_backward(dy, x, *sizes, False, index)

    def arguments(self):
        return self.dy, self.x, self.index

    def verify(self, call):
        dy, x = self.dy.double(), self.x.double()
        size = self.apply(dy.abs(), x, self.index)
        torch_bench.check("dx", call(), self.apply(dy, x, self.index), (self.covering - 1) * UNIT * size)


class AveragePoolForward(Pool):
    kernel = "average_pool_forward"

    def apply(self, x):
        return self.mean(x)

    def verify(self, call):
        x = self.x.double()
        torch_bench.check("y", call(), self.mean(x), (self.window**2 + 1) * UNIT * self.mean(x.abs()))


class AveragePoolGradient(Pool):
    kernel = "average_pool_gradient"

    def apply(self, dy, x):
        sizes = [[v, v] for v in (self.window, self.stride, self.padding)]
        return aten.avg_pool2d_backward(dy, x, *sizes, False, True, None)

    def arguments(self):
        return self.dy, self.x

    def verify(self, call):
        dy, x = self.dy.double(), self.x.double()
        size = self.apply(dy.abs(), x)
        torch_bench.check("dx", call(), self.apply(dy, x), (self.covering + 1) * UNIT * size)


def sum_error(n, mean, variance):
    """As in bench/kernels/batch_norm_bench.cpp."""
    return 4 * UNIT * (n**2 / 2 * variance + n**3 / 3 * mean**2) ** 0.5


class BatchNorm(Layer):
    epsilon = 1e-5

    def __init__(self, *shape):
        self.shape = "x".join(map(str, shape))
        extents = (shape[0], shape[-1], *shape[1:-1])
        channels = shape[-1]
        self.per_channel = math.prod(shape) // channels
        self.along = (1, channels, *(1 for _ in shape[1:-1]))
        self.x, self.dz = uniform(*extents, seed=61), uniform(*extents, seed=62)
        self.x += 0.1 * (1 - 2 * (torch.arange(channels) % 2)).view(self.along)
        self.weight, self.bias = uniform(channels, seed=63), uniform(channels, seed=64)
        self.over = [d for d in range(len(extents)) if d != 1]
        self.exact_mean = self.x.double().mean(self.over)
        self.exact_variance = self.x.double().var(self.over, correction=0)
        self.mean, self.variance = self.exact_mean.float(), self.exact_variance.float()
        self.inverse_std = (self.exact_variance + self.epsilon).rsqrt().float()
        self.running = torch.zeros(channels), torch.ones(channels)

    def column(self, values):
        return values.double().view(self.along)

    def check_output(self, y, mean_error, relative):
        """`mean_error` in the mean and `relative` in the variance, besides rounding."""
        inverse = self.column((self.exact_variance + self.epsilon).rsqrt())
        weight, bias = self.column(self.weight), self.column(self.bias)
        scaled = weight * (self.x - self.column(self.exact_mean)) * inverse
        off = self.column(mean_error) * weight.abs() * inverse + scaled.abs() * self.column(relative) / 2
        torch_bench.check("y", y, torch.relu(scaled + bias), off + 8 * UNIT * (scaled.abs() + bias.abs()))


class BatchNormForward(BatchNorm):
    kernel = "batch_norm_forward"

    def apply(self, x, weight, bias, mean, variance):
        y, saved_mean, inverse_std = torch.native_batch_norm(x, weight, bias, mean, variance, True, 0.1, self.epsilon)
        return torch.relu(y), saved_mean, inverse_std

    def arguments(self):
        return self.x, self.weight, self.bias, *self.running

    def verify(self, call):
        y, mean, inverse_std = call()
        n, v = self.per_channel, self.exact_variance
        mean_error = sum_error(n, self.exact_mean, v) / n + 2 * UNIT * self.exact_mean.abs()
        relative = sum_error(n, 1, 0.8) / n + 4 * UNIT + mean_error**2 / v
        torch_bench.check("mean", mean, self.exact_mean, mean_error)
        wanted = (v + self.epsilon).rsqrt()
        torch_bench.check("1 / std", inverse_std, wanted, (relative / 2 + 2 * UNIT) * wanted)
        self.check_output(y, mean_error, relative)


class BatchNormInference(BatchNorm):
    kernel = "batch_norm_inference"

    def apply(self, x, mean, variance, weight, bias):
        return torch.relu(functional.batch_norm(x, mean, variance, weight, bias, False, 0.0, self.epsilon))

    def arguments(self):
        return self.x, self.mean, self.variance, self.weight, self.bias

    def verify(self, call):
        self.check_output(call(), UNIT * self.exact_mean.abs(), UNIT * torch.ones_like(self.exact_mean))


class BatchNormGradient(BatchNorm):
    kernel = "batch_norm_gradient"

    def apply(self, dz, x, weight, mean, variance, saved_mean, inverse_std):
        return aten.native_batch_norm_backward(dz, x, weight, mean, variance, saved_mean, inverse_std, True,
                                               self.epsilon, [True, True, True])

    def arguments(self):
        return self.dz, self.x, self.weight, *self.running, self.mean, self.inverse_std

    def verify(self, call):
        dx, dweight, dbias = call()
        n, dz = self.per_channel, self.dz.double()
        z = (self.x.double() - self.column(self.mean)) * self.column(self.inverse_std)
        total, product = dz.sum(self.over), (dz * z).sum(self.over)
        total_off = sum_error(n, 0, 1 / 3)
        product_off = total_off + 16 * UNIT * math.sqrt(n / 3)
        torch_bench.check("dbias", dbias, total, total_off + UNIT * total.abs())
        torch_bench.check("dweight", dweight, product, product_off + 4 * UNIT * product.abs())
        scale = self.column(self.weight) * self.column(self.inverse_std)
        terms = dz, -z * self.column(product) / n, -self.column(total) / n
        size = sum(t.abs() for t in terms)
        off = 12 * UNIT * size + (total_off + z.abs() * product_off) / n
        torch_bench.check("dx", dx, scale * sum(terms), scale.abs() * off)


NORMS = [(100, 32, 32, 48), (100, 16, 16, 96), (1000, 512)]
PROBLEMS = [(make, s) for make in (ConvolutionForward, ConvolutionInputGradient, ConvolutionWeightGradient)
            for s in shapes_of("conv.h", "ConvShape")]
PROBLEMS += [(make, s) for make in (MaxPoolForward, MaxPoolGradient, AveragePoolForward, AveragePoolGradient)
             for s in shapes_of("pool.h", "PoolWindow")]
PROBLEMS += [(make, s) for make in (BatchNormForward, BatchNormInference, BatchNormGradient) for s in NORMS]

if __name__ == "__main__":
    torch_bench.main(PROBLEMS + torch_passes.PROBLEMS)
