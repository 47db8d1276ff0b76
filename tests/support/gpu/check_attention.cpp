#include "support/gpu/check_attention.hpp"

#include <doctest/doctest.h>

#include "anchor/attention/reference.hpp"
#include "support/close.hpp"
#include "support/gpu/device_inputs.hpp"
#include "support/gpu/paths.hpp"
#include "support/gpu/tolerance.hpp"

namespace anchor::test {

RandomInputs rounded_inputs(const Geometry& geometry, DType dtype, unsigned seed) {
  RandomInputs inputs = random_inputs(geometry, seed);
  round_to(dtype, inputs.q);
  round_to(dtype, inputs.k);
  round_to(dtype, inputs.v);
  return inputs;
}

void check_plan(const AttentionInputs& inputs, const SparsePlan& plan, DType dtype) {
  const AttentionResult expected = reference_attention(inputs, plan);
  const Errors baseline = errors(rounded_weights_attention(inputs, plan, dtype), expected.out);
  // Few elements make the baseline's error a matter of luck: half a unit of the weights bounds it from above.
  const double floor =
      inputs.geometry.q_heads * inputs.geometry.q_len < 64 ? (dtype == DType::bf16 ? 0x1p-8 : 0x1p-11) : 2e-6;
  for (const kernels::Path path : paths<kernels::SparseFwdParams>(dtype, inputs.geometry.head_dim)) {
    CAPTURE(static_cast<int>(path));
    const AttentionResult actual = device_attention(inputs, plan, dtype, path);
    const Errors e = errors(actual.out, expected.out);
    CHECK(e.worst <= 2 * baseline.worst + floor);
    CHECK(e.rms <= 2 * baseline.rms + floor);
    check_close(actual.lse, expected.lse, 2e-5);

    std::vector<float> rounded = actual.out;
    round_to(dtype, rounded);
    const AttentionResult native = device_attention(inputs, plan, dtype, path, /*out_f32=*/false);
    check_close(native.out, rounded, 0);
    check_close(native.lse, actual.lse, 0);
  }
}

void check_random_plan(const Geometry& geometry, int q_tile, int kv_tile, int tiles_per_row, DType dtype,
                       unsigned seed) {
  CAPTURE(geometry.q_len);
  CAPTURE(geometry.kv_len);
  CAPTURE(geometry.q_heads);
  CAPTURE(geometry.head_dim);
  CAPTURE(q_tile);
  CAPTURE(kv_tile);
  CAPTURE(tiles_per_row);
  const RandomInputs inputs = rounded_inputs(geometry, dtype, seed);
  check_plan(inputs.view(), random_plan(inputs.geometry, q_tile, kv_tile, tiles_per_row, seed), dtype);
}

}  // namespace anchor::test
