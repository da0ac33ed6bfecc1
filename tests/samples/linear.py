"""Matrix products, linear algebra, Fourier transforms."""

import math

import numpy as np

import reference as R

from .base import OPS, F, S, inf, linalg, op, words

# Matrix products

op("matmul linalg.matmul", np.matmul, lambda d: [S(d(3), d(3)), S(d(2, 3), d(3)), S(d(3), d(3, 2)), S(d(2, 3), d(3, 4)), S(d(2, 1, 2, 3), d(4, 3, 2)), S(d(0, 3), d(3, 2)), S(d(2, 0), d(0, 2))], "fi", tol=4)
op("mm", np.matmul, lambda d: [S(d(2, 3), d(3, 4)), S(d(17, 9), d(9, 21))], "fi", tol=4)
op("bmm", np.matmul, lambda d: [S(d(2, 2, 3), d(2, 3, 4))], "fi", tol=4)
op("mv", np.matmul, lambda d: [S(d(2, 3), d(3))], "fi", tol=4)
op("dot inner vdot", np.dot, lambda d: [S(d(5), d(5))], "fi", tol=4)
op("linalg.vecdot", lambda a, b, dim=-1: np.sum(a * b, dim), lambda d: [S(d(2, 3), d(3)), S(d(3, 2), d(3, 2), dim=0)], tol=4)
op("outer ger", np.outer, lambda d: [S(d(2), d(3))], "fi")
op("kron", np.kron, lambda d: [S(d(2, 2), d(1, 3))], "fi")
op("_addmm_activation", lambda c, a, b, *, beta=1, alpha=1, use_gelu=False: (lambda x: 0.5 * x * (1 + R.erf(x / math.sqrt(2))) if use_gelu else np.maximum(x, 0))(
    beta * c + alpha * (a @ b)), lambda d: [S(d(4), d(2, 3), d(3, 4)), S(d(4), d(2, 3), d(3, 4), use_gelu=True), S(d(2, 4), d(2, 3), d(3, 4), beta=2),
                                            S(d(33), d(14, 20), d(33, 20).T, use_gelu=True), S(d(3), d(30, 20), d(20, 3), use_gelu=True)], tol=8)
op("addmm", lambda c, a, b, *, beta=1, alpha=1: beta * c + alpha * (a @ b), lambda d: [S(d(2, 4), d(2, 3), d(3, 4)), S(d(4), d(2, 3), d(3, 4), beta=2, alpha=3)], "fi", tol=4)
op("addmv", lambda c, a, b, *, beta=1, alpha=1: beta * c + alpha * (a @ b), lambda d: [S(d(2), d(2, 3), d(3)), S(d(2), d(2, 3), d(3), beta=2, alpha=3)], "fi", tol=4)
op("addr", lambda c, a, b, *, beta=1, alpha=1: beta * c + alpha * np.outer(a, b), lambda d: [S(d(2, 3), d(2), d(3)), S(d(3), d(2), d(3), beta=2, alpha=3)], "fi", tol=4)
op("baddbmm", lambda c, a, b, *, beta=1, alpha=1: beta * c + alpha * (a @ b), lambda d: [S(d(2, 2, 4), d(2, 2, 3), d(2, 3, 4)), S(d(1, 2, 4), d(2, 2, 3), d(2, 3, 4), beta=2, alpha=3)], "fi", tol=4)
op("addbmm", lambda c, a, b, *, beta=1, alpha=1: beta * c + alpha * (a @ b).sum(0, dtype=c.dtype), lambda d: [S(d(2, 4), d(2, 2, 3), d(2, 3, 4)), S(d(2, 4), d(2, 2, 3), d(2, 3, 4), beta=2, alpha=3)], "fi", tol=4)
op("einsum", lambda eq, *x: np.einsum(eq, *x), lambda d: [S("ij,jk->ik", d(2, 3), d(3, 4)), S("ii->i", d(3, 3)), S("bij,bjk,k->b", d(2, 3, 4), d(2, 4, 2), d(2)), S("...i,...i", d(2, 3), d(2, 3)), S("ij->", d(2, 3))], tol=4)
op("tensordot", lambda a, b, dims=2: np.tensordot(a, b, dims), lambda d: [S(d(2, 3, 4), d(3, 4, 2)), S(d(2, 3), d(2, 3), dims=([0, 1], [0, 1])), S(d(2), d(3), dims=0)], tol=4)
op("chain_matmul", lambda *m: np.linalg.multi_dot(m), lambda d: [S(d(2, 3), d(3, 4), d(4, 2))], tol=4)
op("linalg.multi_dot", np.linalg.multi_dot, lambda d: [S([d(2, 3), d(3, 4), d(4, 2)])], tol=4)
op("matrix_power linalg.matrix_power", np.linalg.matrix_power, lambda d: [S(d(3, 3), 3), S(d(2, 2, 2), 2), S(d(3, 3), 0)], tol=8, spread=False)
op("cross", lambda a, b, dim=-1: np.cross(a, b, axis=dim), lambda d: [S(d(2, 3), d(2, 3), dim=1), S(d(3, 2), d(3, 2), dim=0)], "fi")
op("linalg.cross", lambda a, b, *, dim=-1: np.cross(a, b, axis=dim), lambda d: [S(d(2, 3), d(1, 3)), S(d(3, 2), d(3, 2), dim=0)], "f")
op("cdist", R.cdist, lambda d: [S(d(3, 4), d(2, 4)), S(d(2, 3, 4), d(2, 2, 4), 1.0), S(d(3, 2), d(2, 2), inf)], tol=4, spread=False)
op("pdist nn.functional.pdist", lambda x, p=2.0: R.cdist(x, x, p)[np.triu_indices(len(x), 1)], lambda d: [S(d(4, 3)), S(d(4, 3), 1.0)], spread=False, second=False)
op("pairwise_distance nn.functional.pairwise_distance", lambda a, b, p=2.0, eps=1e-6, keepdim=False: R.vector_norm(a - b + eps, p, -1, keepdim),
   lambda d: [S(d(3, 4), d(3, 4)), S(d(3, 4), d(4), 1.0, keepdim=True)], tol=2)
op("cosine_similarity nn.functional.cosine_similarity", R.cosine_similarity, lambda d: [S(d(3, 4), d(3, 4)), S(d(3, 4), d(3, 4), 0)], tol=2)
op(F("linear"), lambda x, w, b=None: x @ w.T + (0 if b is None else b), lambda d: [S(d(2, 3), d(4, 3)), S(d(2, 3), d(4, 3), d(4)), S(d(3), d(4, 3), d(4)), S(d(2, 2, 3), d(4, 3), d(4))], tol=4)
op("bilinear nn.functional.bilinear", lambda a, b, w, c=None: np.einsum("...i,oij,...j->...o", a, w, b) + (0 if c is None else c),
   lambda d: [S(d(2, 3), d(2, 4), d(2, 3, 4)), S(d(2, 3), d(2, 4), d(2, 3, 4), d(2))], tol=4)

# Linear algebra: where results are unique only up to sign, what they rebuild is compared

op(linalg("inv") + " inverse", np.linalg.inv, lambda d: [S(d.regular(3, 3)), S(d.regular(2, 2, 2))], tol=8, spread=False)
op(linalg("det") + " det", np.linalg.det, lambda d: [S(d.regular(3, 3)), S(d.regular(2, 2, 2))], tol=8, spread=False)
op(linalg("slogdet") + " slogdet", lambda a: tuple(np.linalg.slogdet(a)), lambda d: [S(d.regular(3, 3)), S(d.regular(2, 2, 2))], tol=8, spread=False)
op("logdet", lambda a: np.linalg.slogdet(a)[1], lambda d: [S(d.positive_definite(3, 3))], tol=8, spread=False)
op(linalg("solve"), np.linalg.solve, lambda d: [S(d.regular(3, 3), d(3, 2)), S(d.regular(3, 3), d(3)), S(d.regular(2, 3, 3), d(2, 3, 2))], tol=16, spread=False)
op(linalg("cholesky") + " cholesky", lambda a: np.linalg.cholesky((a + np.swapaxes(a, -1, -2)) / 2), lambda d: [S(d.positive_definite(3, 3)), S(d.positive_definite(2, 2, 2))], tol=8, spread=False,
   call=lambda m, a: m.linalg.cholesky((a + a.mT) / 2))
op("cholesky_solve", lambda b, l: np.linalg.solve(l @ l.T, b), lambda d: [S(d(3, 2), np.linalg.cholesky(d.positive_definite(3, 3)))], tol=16, spread=False,
   call=lambda m, b, l: m.cholesky_solve(b, l.tril()))
op("cholesky_inverse", lambda l: np.linalg.inv(l @ l.T), lambda d: [S(np.linalg.cholesky(d.positive_definite(3, 3)))], tol=16, spread=False, call=lambda m, l: m.cholesky_inverse(l.tril()))
op(linalg("solve_triangular"), lambda a, b, *, upper: np.linalg.solve(np.triu(a) if upper else np.tril(a), b), lambda d: [S(d.regular(3, 3), d(3, 2), upper=u) for u in (True, False)], tol=16, spread=False)
op("triangular_solve", lambda b, a: (np.linalg.solve(np.triu(a), b), np.triu(a)), lambda d: [S(d(3, 2), d.regular(3, 3))], tol=16, spread=False, call=lambda m, b, a: (m.triangular_solve(b, a)[0], a.triu()))
op(linalg("qr") + " qr", lambda a: (a, np.eye(min(a.shape))), lambda d: [S(d(4, 3)), S(d.regular(3, 3))], tol=8, spread=False, second=False,
   call=lambda m, a: (m.linalg.qr(a)[0] @ m.linalg.qr(a)[1], m.linalg.qr(a)[0].mT @ m.linalg.qr(a)[0]))
op(linalg("svd") + " svd", lambda a: (a, np.linalg.svd(a, compute_uv=False)), lambda d: [S(d(4, 3)), S(d(2, 2, 3))], tol=16, spread=False, second=False,
   call=lambda m, a: ((u := m.linalg.svd(a, full_matrices=False))[0] @ m.diag_embed(u[1]) @ u[2], u[1]))
op(linalg("svdvals"), lambda a: np.linalg.svd(a, compute_uv=False), lambda d: [S(d(4, 3))], tol=16, spread=False, second=False)
_symmetric = lambda m, a: (a + a.mT) / 2
op(linalg("eigh"), lambda a: ((a + a.T) / 2, np.linalg.eigvalsh((a + a.T) / 2)), lambda d: [S(d(3, 3))], tol=16, spread=False, second=False,
   call=lambda m, a: ((e := m.linalg.eigh(_symmetric(m, a)))[1] @ m.diag(e[0]) @ e[1].mT, e[0]))
op(linalg("eigvalsh"), lambda a: np.linalg.eigvalsh((a + a.T) / 2), lambda d: [S(d(3, 3))], tol=16, spread=False, second=False, call=lambda m, a: m.linalg.eigvalsh(_symmetric(m, a)))
op(linalg("pinv") + " pinverse", np.linalg.pinv, lambda d: [S(d(4, 3)), S(d(2, 3))], tol=16, spread=False, second=False)
op(linalg("lstsq"), lambda a, b: np.linalg.lstsq(a, b, rcond=None)[0], lambda d: [S(d(4, 3), d(4, 2))], tol=16, spread=False, second=False, call=lambda m, a, b: m.linalg.lstsq(a, b).solution)
op(linalg("lu") + " lu_unpack", lambda a: a, lambda d: [S(d.regular(3, 3))], tol=8, spread=False, call=lambda m, a: (p := m.linalg.lu(a))[0] @ p[1] @ p[2])
op(linalg("lu_factor") + " lu", lambda a: np.linalg.det(a), lambda d: [S(d.regular(3, 3))], grad=False, tol=8, spread=False,
   call=lambda m, a: m.linalg.lu_factor(a)[0].diagonal().prod() * (-1) ** int((m.linalg.lu_factor(a)[1] != m.arange(1, 4)).sum()))
op(linalg("lu_solve") + " lu_solve", lambda a, b: np.linalg.solve(a, b), lambda d: [S(d.regular(3, 3), d(3, 2))], tol=16, spread=False, call=lambda m, a, b: m.linalg.lu_solve(*m.linalg.lu_factor(a), b))
op(linalg("cholesky_ex"), lambda a: (np.linalg.cholesky(a), np.array(0)), lambda d: [S(d.positive_definite(3, 3))], grad=False, tol=8, spread=False, call=lambda m, a: (m.linalg.cholesky_ex(a)[0], m.linalg.cholesky_ex(a)[1].long()))
op(linalg("inv_ex"), lambda a: (np.linalg.inv(a), np.array(0)), lambda d: [S(d.regular(3, 3))], grad=False, tol=8, spread=False, call=lambda m, a: (m.linalg.inv_ex(a)[0], m.linalg.inv_ex(a)[1].long()))
op(linalg("solve_ex"), lambda a, b: np.linalg.solve(a, b), lambda d: [S(d.regular(3, 3), d(3, 2))], tol=16, spread=False, call=lambda m, a, b: m.linalg.solve_ex(a, b)[0])
op(linalg("matrix_rank"), np.linalg.matrix_rank, lambda d: [S(d(4, 3)), S(np.ones((3, 3)))], grad=False, spread=False)
op(linalg("cond"), lambda a, p=None: np.linalg.cond(a, p), lambda d: [S(d.regular(3, 3)), S(d.regular(3, 3), 1)], tol=16, spread=False, second=False)
op(linalg("vector_norm"), R.vector_norm, lambda d: [S(d(3, 4)), S(d(3, 4), 1, 0), S(d(2, 3, 4), 3, (0, 1), True), S(d(5), inf), S(d(5), -inf)])
op(linalg("matrix_norm"), lambda a, o="fro", dim=(-2, -1), keepdim=False: np.linalg.norm(a, o, dim, keepdim), lambda d: [S(d(3, 4)), S(d(3, 4), 1), S(d(2, 3, 4), inf, keepdim=True), S(d(3, 4), "nuc"), S(d(3, 4), 2)], tol=8, second=False, spread=False)
op(linalg("norm"), lambda a, o=None, dim=None, keepdim=False: np.linalg.norm(a, o, dim, keepdim), lambda d: [S(d(5)), S(d(3, 4)), S(d(3, 4), 1), S(d(3, 4), 2, 1), S(d(5), inf)], tol=4, second=False)
op(linalg("matrix_exp") + " matrix_exp", R.matrix_exp, lambda d: [S(d(3, 3)), S(d(2, 2, 2))], tol=16, spread=False, second=False)
op(linalg("householder_product") + " orgqr", lambda a: np.linalg.qr(a)[0], lambda d: [S(d(4, 3))], grad=False, tol=8, spread=False, call=lambda m, a: m.linalg.householder_product(*m.geqrf(a)))
op("geqrf", lambda a: np.abs(np.linalg.qr(a)[1]), lambda d: [S(d(4, 3))], grad=False, tol=8, spread=False, call=lambda m, a: m.geqrf(a)[0][:3].triu().abs())
op("ormqr", lambda a, c: np.linalg.qr(a, "complete")[0] @ c, lambda d: [S(d(4, 3), d(4, 2))], grad=False, tol=8, spread=False, call=lambda m, a, c: m.ormqr(*m.geqrf(a), c))
op(linalg("tensorinv"), np.linalg.tensorinv, lambda d: [S(d.regular(6, 6).reshape(2, 3, 6), 2)], tol=16, spread=False)
op(linalg("tensorsolve"), np.linalg.tensorsolve, lambda d: [S(d.regular(6, 6).reshape(2, 3, 6), d(2, 3))], tol=16, spread=False)
op(linalg("eigvals"), lambda a: np.sort(np.linalg.eigvals(a).real), lambda d: [S(np.diag([1.0, 2.0, 4.0]) + 0.1)], grad=False, tol=16, spread=False, call=lambda m, a: m.linalg.eigvals(a).real.sort()[0])
op(linalg("eig"), lambda a: a, lambda d: [S(np.diag([1.0, 2.0, 4.0]) + 0.1)], grad=False, tol=16, spread=False, call=lambda m, a: ((e := m.linalg.eig(a))[1] @ m.diag(e[0]) @ m.linalg.inv(e[1])).real)
op(linalg("ldl_factor"), lambda a: a, lambda d: [S(d.positive_definite(3, 3))], grad=False, tol=16, spread=False, call=lambda m, a: m.linalg.inv(m.linalg.ldl_solve(*m.linalg.ldl_factor(a), m.eye(3, dtype=a.dtype))))
op(linalg("ldl_solve"), np.linalg.solve, lambda d: [S(d.positive_definite(3, 3), d(3, 2))], grad=False, tol=16, spread=False, call=lambda m, a, b: m.linalg.ldl_solve(*m.linalg.ldl_factor(a), b))


def fourier(names, make, tol):
    """Seen through their magnitudes, so that values and gradients are of real numbers."""
    for name in words(names):
        numpy = getattr(np.fft, name)
        op("fft." + name, lambda *a, f=numpy: np.abs(f(*a)), make, tol=tol, second=False,
           call=lambda m, *a, name=name: abs(getattr(m.fft, name)(*a)))


fourier("fft ifft rfft irfft hfft ihfft", lambda d: [S(d(6)), S(d(2, 5)), S(d(6), 4)], tol=4)
fourier("fft2 ifft2 fftn ifftn rfft2 rfftn irfft2 irfftn", lambda d: [S(d(4, 6)), S(d(2, 3, 4))], tol=8)
def _stft(x, n_fft, hop, window, center=True):
    x = np.pad(x, n_fft // 2, "reflect") if center else x
    frames = [x[i : i + n_fft] * window for i in range(0, len(x) - n_fft + 1, hop)]
    return np.abs(np.fft.rfft(np.stack(frames), axis=1).T)


op("fft.hfft2 fft.hfftn", lambda x: np.fft.hfft(np.fft.fftn(x, axes=(0,))), lambda d: [S(d(4, 5))], tol=8)
op("fft.ihfft2 fft.ihfftn", lambda x: np.abs(np.fft.ifftn(np.fft.ihfft(x), axes=(0,))), lambda d: [S(d(4, 5))], tol=8, second=False)
OPS["fft.ihfft2"].call, OPS["fft.ihfftn"].call = lambda m, x: abs(m.fft.ihfft2(x)), lambda m, x: abs(m.fft.ihfftn(x))
op("stft", _stft, lambda d: [S(d(20), 8, 3, d(8, lo=0.3)), S(d(20), 6, 2, d(6, lo=0.3), False)], tol=8, second=False,
   call=lambda m, x, n, hop, w, center=True: abs(m.stft(x, n, hop, window=w, center=center, return_complex=True)))
op("istft", lambda x, w: x, lambda d: [S(d(24), d(8, lo=0.5))], tol=8, call=lambda m, x, w: m.istft(m.stft(x, 8, 2, window=w, return_complex=True), 8, 2, window=w, length=24))
op("embedding_bag", lambda w, i, offsets: R.embedding_bag(i, w, offsets, "sum"), lambda d: [S(d(5, 2), d.index(5, 6), np.array([0, 2, 2]))], second=False, call=lambda m, w, i, o: m.embedding_bag(w, i, o)[0])
op("fft.fftshift", np.fft.fftshift, lambda d: [S(d(5)), S(d(4, 3))])
op("fft.ifftshift", np.fft.ifftshift, lambda d: [S(d(5)), S(d(4, 3))])
op("fft.fftfreq", np.fft.fftfreq, lambda d: [S(5), S(8, 0.5)], kinds="c", grad=False, spread=False)
op("fft.rfftfreq", np.fft.rfftfreq, lambda d: [S(5), S(8, 0.5)], kinds="c", grad=False, spread=False)
