"""What each kernel must at least do at one shape, and how long two GPUs would take: a roofline, an estimate and no measurement.

A line of WORK: an expression over kernel names, the float32 instructions (a multiply-add is one) and the bytes that must be
read or written once, as formulas of SHAPE. Without instructions only the bytes count: those kernels' arithmetic is of integers
(Philox), or there is none. What is left out makes a kernel slower than its estimate: the launch (some microseconds), operands
read more than once, special functions, random numbers drawn within products.
"""

import re

GPUS = {"A100": ("sm_80", 19.5e12, 1.555e12), "H100": ("sm_90", 66.9e12, 3.35e12)}  # data sheets; H100: SXM
# Of multiply-adds among an inner loop's instructions: the least that the tests (ptx.<kernel>) let pass. Of products that they do
# not hold to it: what `./dev gpu` found.
TESTED = 0.75
# N samples, K inputs, M outputs of a layer; d rows a sample in Jacobians, whose S samples make R rows; few: samples of a small
# batch; C classes; image: H x H pixels with Q channels in and O out by 3 x 3, B of them; campaign: A candidates, B directions;
# Gram sums: G points against G in D dimensions, W in the wide form.
SHAPE = dict(N=4096, K=1024, M=1024, few=32, d=10, S=512, R=5120, C=10, B=256, H=32, Q=64, O=64, A=3072, T=64, G=4096, D=10, W=784,
             P=1 << 24)
X, W, Y = "N*K", "M*K", "N*M"
PRODUCT = "N*K*M"
IMAGE_IN, IMAGE_OUT, FILTERS = "B*H*H*Q", "B*H*H*O", "O*Q*9"
WORK = [
    # expression, share of the float rate that the instructions around leave, float instructions, bytes
    (r"dense_forward_added", TESTED, PRODUCT, f"4*({X}+{W}+2*{Y})"),
    (r"dense_(forward|input_gradient)_few.*", TESTED, "few*K*M", f"4*(few*K+{W}+few*M)"),
    (r"dense_forward(_tanh|_sigmoid)?", TESTED, PRODUCT, f"4*({X}+{W}+M+{Y})"),
    (r"dense_input_gradient(_tanh|_sigmoid)?", TESTED, PRODUCT, f"4*(2*{X}+{W}+{Y})"),
    (r"dense_weight_gradient", TESTED, PRODUCT, f"4*({X}+{Y}+{W})"),
    (r"dense_weight_gradient_few", TESTED, "few*K*M", f"4*(few*K+few*M+{W})"),
    (r"dense_weight_sgd", TESTED, PRODUCT, f"4*({X}+{Y}+2*{W})"),
    (r"dense_weight_momentum", TESTED, PRODUCT, f"4*({X}+{Y}+4*{W})"),
    (r"dense_weight_adam", TESTED, PRODUCT, f"4*({X}+{Y}+6*{W})"),
    (r"dense_weight_sgd_few", TESTED, "few*K*M", f"4*(few*K+few*M+2*{W})"),
    (r"dense_weight_momentum_few", TESTED, "few*K*M", f"4*(few*K+few*M+4*{W})"),
    (r"dense_weight_adam_few", TESTED, "few*K*M", f"4*(few*K+few*M+6*{W})"),
    (r"dense_moments.*", TESTED, PRODUCT, f"4*({X}+{W}+2*M+N)+16*C*M"),
    (r"conv2d_forward.*", TESTED, f"{IMAGE_OUT}*Q*9", f"4*({IMAGE_IN}+{FILTERS}+{IMAGE_OUT})"),
    (r"conv2d_input_gradient.*", TESTED, f"{IMAGE_OUT}*Q*9", f"4*(2*{IMAGE_IN}+{FILTERS}+{IMAGE_OUT})"),
    (r"conv2d_weight_gradient", TESTED, f"{IMAGE_OUT}*Q*9", f"4*({IMAGE_IN}+{FILTERS}+{IMAGE_OUT})"),
    # Four products for nine; transformed images and products go through memory, four times their size there and back.
    (r"conv2d_winograd_(forward|weight_gradient).*", TESTED, f"{IMAGE_OUT}*Q*4",
     f"4*(9*{IMAGE_IN}+3*{FILTERS}+9*{IMAGE_OUT})"),
    (r"conv2d_winograd_input_gradient.*", TESTED, f"{IMAGE_OUT}*Q*4",
     f"4*(10*{IMAGE_IN}+3*{FILTERS}+9*{IMAGE_OUT})"),
    (r"campaign_norms", 1, "A*K", "4*(A*K+A)"),
    (r"campaign_project", 0.37, "A*T*K", "4*(A*K+T*K+A*T+2*A)"),
    (r"campaign_update", 0.37, "A*T*K+A*T", "4*(A*K+T*K+5*A)"),
    (r"campaign_residual", 0.37, "A*T*K+A*K", "4*(2*A*K+T*K+A*T+3*A)"),
    (r"campaign_step", 1, "A*T/2", "4*(A*T/2+7*A)"),
    (r"jacobian_top.*", 1, "R*K", "4*(d*K+S*K+R*K)"),
    (r"jacobian_product.*", TESTED, "R*K*M", f"4*(R*M+{W}+S*K+R*K)"),
    (r"jacobian_transposed.*", TESTED, "R*K*M", f"4*(R*K+{W}+S*M+R*M)"),
    (r"jacobian_adjoint", TESTED, "R*K*M", f"4*(R*K+{W}+S*M+2*R*M+R)"),
    (r"jacobian_join.*", 1, "3*R*K", "4*(3*R*K+S*K+2*R)"),
    (r"jacobian_curvature.*", 1, "R*K+4*S*K", "4*(2*R*K+2*S*K)"),
    (r"row_norms", 1, "R*K", "4*(R*K+R)"),
    (r"row_dots", 1, "R*K", "4*(2*R*K+R)"),
    (r"quadratic_forms", TESTED, "R*K*K+R*K", "4*(R*K+K*K+R)"),
    (r"scale_rows", 1, "R*K", "4*(2*R*K+R)"),
    (r"active_units", 1, "", "4*(2*S*K+S)"),
    (r"jacobian_masked_product", 0.43, "R*K*M/2", f"4*(R*M+{W}+S*K+R*K+S*M/2)"),
    (r"masked_quadratic_forms", 0.43, "R*K*K/4+R*K/2", "4*(R*K+K*K+R+S*K/2)"),
    (r"softmax_cross_entropy", 1, "18*N*C", "4*(2*N*C+3*N)"),
    (r"softmax_cross_entropy_loss", 1, "17*N*C", "4*(N*C+3*N)"),
    (r"softmax_hessian_product", 1, "20*N*C", "4*3*N*C"),
    (r"squared_error", 1, f"3*{Y}", f"4*(3*{Y}+N)"),
    (r"activation_gradient.*", 1, f"2*{Y}", f"4*3*{Y}"),
    (r"sgd_step", 1, "2*P", "4*3*P"),
    (r"momentum_step", 1, "3*P", "4*5*P"),
    (r"adam_step", 1, "14*P", "4*7*P"),
    (r"philox_(words|uniform|normal|exponential|beta|beta21)", 1, "", "4*P"),
    (r"philox_simplex", 1, "", "4*N*C"),
    (r"philox_correlated_rows", 1, "", f"4*{W}"),
    (r"standardize", 1, f"2*{X}", f"4*(2*{X}+2*K)"),
    (r"standardize_u8", 1, f"2*{X}", f"5*{X}+8*K"),
    (r"gather_rows", 1, f"2*{X}", f"4*(2*{X}+2*K+N)"),
    (r"gather_rows_u8", 1, f"2*{X}", f"5*{X}+8*K+4*N"),
    (r"class_scatter|stored_scatter(_by_class)?", 1, f"3*{X}", f"4*({X}+N+K)+16*C*K"),
    (r"scatter_criteria", 1, "12*C*K", "8*(3*C*K+6*K)"),
    (r"column_mean", 1, X, f"4*({X}+K)"),
    (r"feature_moments", 1, f"3*{X}", f"4*{X}+16*K"),
    (r"feature_moments_u8", 1, f"3*{X}", f"{X}+16*K"),
    (r"max_pool_forward|max_pool_take", 1, "", f"4*{IMAGE_IN}*5/4+{IMAGE_IN}/4"),
    (r"max_pool_inference", 1, "", f"4*{IMAGE_IN}*5/4"),
    (r"max_pool_gradient", 1, "", f"4*{IMAGE_IN}*5/4+{IMAGE_IN}/4"),
    (r"average_pool_forward", 1, IMAGE_IN, f"4*{IMAGE_IN}*5/4"),
    (r"average_pool_gradient", 1, f"2*{IMAGE_IN}", f"4*{IMAGE_IN}*9/4"),
    (r"batch_norm_statistics", 1, f"3*{IMAGE_IN}", f"4*{IMAGE_IN}+16*Q"),
    (r"batch_norm_apply.*", 1, f"2*{IMAGE_IN}", f"4*(2*{IMAGE_IN}+4*Q)"),
    (r"batch_norm_sums", 1, f"4*{IMAGE_IN}", f"4*2*{IMAGE_IN}+16*Q"),
    (r"batch_norm_gradient", 1, f"5*{IMAGE_IN}", f"4*(3*{IMAGE_IN}+5*Q)"),
    (r"dropout", 1, "", f"4*2*{X}"),
    (r"transpose_samples", 1, "", f"4*2*{IMAGE_IN}"),
    (r"patches", 1, "", f"4*{IMAGE_IN}*10"),
    (r"perturbed_dense_forward.*", TESTED, PRODUCT, f"4*({X}+{W}+M+{Y})"),
    (r"perturbed_input_gradient.*", TESTED, PRODUCT, f"4*(2*{X}+{W}+{Y})"),
    (r"active_counts", 1, "", f"4*({Y}+M)"),
    (r"covariance", TESTED, "N*K*K/2", f"4*({X}+K+K*K)"),
    (r"gaussian_gram_sum", 1, "G*G*(2*D+9)", "4*2*G*D+8*G"),
    (r"gaussian_gram_sum_wide", 1, "G*G*(W+11)", "4*2*G*W+8*G"),
    (r"gaussian_gram_gradient", 1, "G*G*(4*D+9)", "4*3*G*D+8*G"),
    (r"gaussian_gram_gradient_wide", 1, "G*G*(2*W+11)", "4*3*G*W+8*G"),
    (r"mmd_squared", 1, "3*G*G*(2*D+9)", "4*3*G*D"),
    (r"mmd_squared_wide", 1, "3*G*G*(W+11)", "4*3*G*W"),
    (r"pair_distance_(counts|next)", 1, "G*G*(2*D+2)*2", "4*2*G*D"),
    (r"pair_distance_select", 1, "G*G/2*(2*D+68)", "4*2*G*D"),
    (r"donsker_varadhan", 1, "14*N*C", "4*4*N*C"),
]


def work_of(kernel):
    """(share of the float rate, float instructions, bytes) at SHAPE; nothing for a kernel without a line."""
    for expression, share, instructions, size in WORK:
        if re.fullmatch(expression, kernel):
            count = lambda formula: eval(formula, {"__builtins__": {}}, SHAPE) if formula else 0  # the formulas above
            return share, count(instructions), count(size)
    return None


def estimate(kernel, gpu):
    """(seconds, what bounds them) at SHAPE."""
    share, instructions, size = work_of(kernel)
    _, flops, bandwidth = GPUS[gpu]
    memory, arithmetic = size / bandwidth, instructions / (flops / 2 * share)
    return max(memory, arithmetic), "arithmetic" if arithmetic > memory else "memory"


def shown(seconds, bound):
    return f"{1e6 * seconds:.3g} µs, {bound}" if seconds < 1e-3 else f"{1e3 * seconds:.3g} ms, {bound}"


def table(kernels):
    """A line for kernels with the same estimate."""
    groups = {}
    for kernel in kernels:
        groups.setdefault((work_of(kernel), *(shown(*estimate(kernel, gpu)) for gpu in GPUS)), []).append(kernel)
    lines = ["| kernel | 10⁹ float instructions | MB | " + " | ".join(f"{gpu}, estimate" for gpu in GPUS) + " |",
             "| --- | ---: | ---: |" + " ---: |" * len(GPUS)]
    for ((_, instructions, size), *times), names in groups.items():
        count = f"{instructions / 1e9:.3g}" if instructions else "-"
        lines.append(f"| {', '.join(names)} | {count} | {size / 1e6:.3g} | {' | '.join(times)} |")
    return "\n".join(lines)
