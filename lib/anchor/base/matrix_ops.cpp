#include "anchor/base/matrix_ops.hpp"

#include "anchor/base/error.hpp"

namespace anchor {

namespace v3 {
extern const MatrixOps ops;
}
namespace v4 {
extern const MatrixOps ops;
}

std::vector<const MatrixOps*> matrix_variants() {
  std::vector<const MatrixOps*> found;
  if (__builtin_cpu_supports("x86-64-v4")) found.push_back(&v4::ops);
  if (__builtin_cpu_supports("x86-64-v3")) found.push_back(&v3::ops);
  if (found.empty()) fail("this CPU lacks AVX2 and FMA (x86-64-v3), which the CPU code needs");
  return found;
}

const MatrixOps& matrix_ops() {
  static const MatrixOps& chosen = *matrix_variants().front();
  return chosen;
}

}  // namespace anchor
