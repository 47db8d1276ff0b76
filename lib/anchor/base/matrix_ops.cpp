#include "anchor/base/matrix_ops.hpp"

#include "anchor/base/error.hpp"

namespace anchor {

namespace v3 {
extern const MatrixOps ops;
}
namespace v4 {
extern const MatrixOps ops;
}

namespace {

// Clang before 18 does not know the levels by their names, so it asks for what compilers use of them here.
bool runs_v3() {
#if defined(__clang__) && __clang_major__ < 18
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi") &&
         __builtin_cpu_supports("bmi2");
#else
  return __builtin_cpu_supports("x86-64-v3");
#endif
}

bool runs_v4() {
#if defined(__clang__) && __clang_major__ < 18
  return runs_v3() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") &&
         __builtin_cpu_supports("avx512vl");
#else
  return __builtin_cpu_supports("x86-64-v4");
#endif
}

}  // namespace

std::vector<const MatrixOps*> matrix_variants() {
  std::vector<const MatrixOps*> found;
  if (runs_v4()) found.push_back(&v4::ops);
  if (runs_v3()) found.push_back(&v3::ops);
  if (found.empty()) fail("this CPU lacks AVX2 and FMA (x86-64-v3), which the CPU code needs");
  return found;
}

const MatrixOps& matrix_ops() {
  static const MatrixOps& chosen = *matrix_variants().front();
  return chosen;
}

}  // namespace anchor
