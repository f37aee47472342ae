"""Kernels around matrix products in float32, by oneDNN's `sgemm`: linear maps, batches of products, attention.

Jittor's own `matmul` reaches oneDNN for two matrices only, and copies what is transposed. Other dtypes, a GPU, and a Jittor
without oneDNN take `jt_backend.kernels.plain`.
"""

from jt_backend.jittor import jt
from jt_backend.kernels import plain
from jt_backend.kernels.header import HEADER

SGEMM = """
extern "C" int dnnl_sgemm(char trans_a, char trans_b, int64_t m, int64_t n, int64_t k, float alpha, const float* a,
    int64_t lda, const float* b, int64_t ldb, float beta, float* c, int64_t ldc);
"""

# Each thread computes a share of the columns. oneDNN's own split is slower with a transposed factor, by a third where it has
# few rows; it is left the work where the shares would be narrow.
LINEAR = """
    @alias(x, in0)
    @alias(weight, in1)
    @alias(y, out0)
    const int64 rows = x_shape0, n_in = x_shape1, n_out = weight_shape0, threads = omp_get_max_threads();
    auto columns = [&](int64 first, int64 end) {
        for (int64 i = 0; i < rows; i++) std::copy(in2_p + first, in2_p + end, y_p + i * n_out + first);
        dnnl_sgemm('N', 'T', rows, end - first, n_in, 1, x_p, n_in, weight_p + first * n_in, n_in, 1, y_p + first, n_out);
    };
    if (n_out < 128 * threads) {
        columns(0, n_out);
    } else {
        #pragma omp parallel for
        for (int64 i = 0; i < threads; i++) columns(i * n_out / threads, (i + 1) * n_out / threads);
    }
"""

# Few large products are split by oneDNN itself; of many, each thread takes whole ones.
MATMUL = """
    @alias(a, in0)
    @alias(b, in1)
    @alias(y, out0)
    const int64 batch = y_shape0, m = y_shape1, n = y_shape2, k = a_shape2;
    const char trans = data["transpose_b"] ? 'T' : 'N';
    auto product = [&](int64 i) {
        dnnl_sgemm('N', trans, m, n, k, 1, a_p + (a_shape0 == 1 ? 0 : i) * m * k, k,
            b_p + (b_shape0 == 1 ? 0 : i) * k * n, b_shape2, 0, y_p + i * m * n, n);
    };
    if (batch < omp_get_max_threads()) {
        for (int64 i = 0; i < batch; i++) product(i);
    } else {
        #pragma omp parallel for
        for (int64 i = 0; i < batch; i++) product(i);
    }
"""

# A block of rows of the attention at a time, so that its weights stay in the cache and never exist as a whole.
SOFTMAX_OF_SUM = """
inline void softmax_of_sum(float* row, const float* addition, int64_t n) {
    if (addition) for (int64_t j = 0; j < n; j++) row[j] += addition[j];
    softmax_row(row, row, n);
}
"""

ATTENTION = """
    @alias(q, in0)
    @alias(k, in1)
    @alias(v, in2)
    @alias(addition, in3)
    @alias(y, out0)
    const int64 n = q_shape1, m = k_shape1, width = q_shape2, heads = data["n_heads"], depth = width / heads;
    const int64 block = 128, blocks = (n + block - 1) / block;
    const float scale = data["scale"];
    const bool added = data["added"];
    #pragma omp parallel
    {
        std::vector<float> weights(std::min(block, n) * m);
        #pragma omp for
        for (int64 task = 0; task < q_shape0 * heads * blocks; task++) {
            const int64 first = task % blocks * block, rows = std::min(block, n - first);
            const int64 head = task / blocks % heads * depth, image = task / (blocks * heads);
            const int64 at = (image * n + first) * width + head, keys = image * m * width + head;
            dnnl_sgemm('N', 'T', rows, m, depth, scale, q_p + at, width, k_p + keys, width, 0, weights.data(), m);
            for (int64 i = 0; i < rows; i++)
                softmax_of_sum(weights.data() + i * m, added ? addition_p + (first + i) * m : nullptr, m);
            dnnl_sgemm('N', 'N', rows, depth, m, 1, weights.data(), m, v_p + keys, width, 0, y_p + at, width);
        }
    }
"""

ATTENTION_WEIGHTS = """
    @alias(a, in0)
    @alias(b, in1)
    @alias(addition, in2)
    @alias(y, out0)
    const int64 n = y_shape1, m = y_shape2, depth = a_shape2, block = 128, blocks = (n + block - 1) / block;
    const float scale = data["scale"];
    const bool added = data["added"];
    #pragma omp parallel for
    for (int64 task = 0; task < y_shape0 * blocks; task++) {
        const int64 head = task / blocks, first = task % blocks * block, rows = std::min(block, n - first);
        float* to = y_p + (head * n + first) * m;
        dnnl_sgemm('N', 'T', rows, m, depth, scale, a_p + (head * n + first) * depth, depth,
            b_p + head * m * depth, depth, 0, to, m);
        for (int64 i = 0; i < rows; i++)
            softmax_of_sum(to + i * m, added ? addition_p + (first + i) * m : nullptr, m);
    }
"""


def linear(x: jt.Var, weight: jt.Var, bias: jt.Var | None) -> jt.Var:
    """`plain.linear`, the bias being where the product is added to."""
    if not _by_sgemm(x, weight):
        return plain.linear(x, weight, bias)
    rows = x.reshape([-1, x.shape[-1]])
    if bias is None:
        bias = jt.zeros([weight.shape[0]])
    y = _code([rows.shape[0], weight.shape[0]], [rows, weight, bias], LINEAR)
    return y.reshape([*x.shape[:-1], weight.shape[0]])


def matmul(a: jt.Var, b: jt.Var, transpose_b: bool = False) -> jt.Var:
    """`plain.matmul` of matrices or batches of them, (P or 1, m, k) and (P or 1, k, n) or, transposed, (P or 1, n, k)."""
    if not _by_sgemm(a, b):
        return plain.matmul(a, b, transpose_b)
    a, b, whole = (*(x.reshape([1, *x.shape]) if x.ndim == 2 else x for x in (a, b)), a.ndim == b.ndim == 2)
    shape = [max(a.shape[0], b.shape[0]), a.shape[1], b.shape[1 if transpose_b else 2]]
    product = _code(shape, [a, b], MATMUL, transpose_b=transpose_b)
    return product.reshape(shape[1:]) if whole else product


def attention(q: jt.Var, k: jt.Var, v: jt.Var, n_heads: int, scale: float, addition: jt.Var | None) -> jt.Var:
    """`plain.attention` of q (B, N, D), k and v (B, M, D), heads being columns of them."""
    if not _by_sgemm(q, k, v):
        return plain.attention(q, k, v, n_heads, scale, addition)
    added = addition is not None
    inputs = [q, k, v, addition if added else q]
    return _code(q.shape, inputs, ATTENTION, SOFTMAX_OF_SUM, n_heads=n_heads, scale=scale, added=added)


def attention_weights(a: jt.Var, b: jt.Var, scale: float, addition: jt.Var | None) -> jt.Var:
    """`plain.attention_weights` of a (P, N, d), b (P, M, d)."""
    if not _by_sgemm(a, b):
        return plain.attention_weights(a, b, scale, addition)
    added = addition is not None
    inputs = [a, b, addition if added else a]
    return _code([*a.shape[:2], b.shape[1]], inputs, ATTENTION_WEIGHTS, SOFTMAX_OF_SUM, scale=scale, added=added)


def _by_sgemm(*arrays: jt.Var) -> bool:
    """Whether oneDNN can take these: float32 on the CPU, none of them empty."""
    if jt.flags.use_cuda or getattr(jt.compile_extern, "mkl_ops", None) is None:
        return False
    return all(x.dtype == "float32" and x.numel() for x in arrays)


def _code(shape: list[int], inputs: list[jt.Var], source: str, header: str = "", **numbers: float) -> jt.Var:
    data = {name: float(number) for name, number in numbers.items()}
    return jt.code(shape, "float32", inputs, cpu_header=HEADER + SGEMM + header, cpu_src=source, data=data)
