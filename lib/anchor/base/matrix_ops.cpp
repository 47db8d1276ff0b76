#include "anchor/base/matrix_ops.hpp"

#include "anchor/base/error.hpp"

namespace anchor {

namespace v3 {
extern const MatrixOps ops;
}
namespace v4 {
extern const MatrixOps ops;
}

const MatrixOps& matrix_ops() {
  static const MatrixOps& chosen = []() -> const MatrixOps& {
    if (__builtin_cpu_supports("x86-64-v4")) return v4::ops;
    if (__builtin_cpu_supports("x86-64-v3")) return v3::ops;
    fail("this CPU lacks AVX2 and FMA (x86-64-v3), which the CPU code needs");
  }();
  return chosen;
}

}  // namespace anchor
