#pragma once

#include "sm90/sparse_fwd/consumer.cuh"

namespace anchor::kernels::sm90 {

/// Writes each row's largest score, in natural units, where attention would write lse. While one warpgroup
/// looks for maxima the other one multiplies, so one accumulator each is enough.
template <Element element, int head_dim>
class RowMaxConsumer : Consumer<element, head_dim, Mode::row_max> {
  using Base = Consumer<element, head_dim, Mode::row_max>;
  using Base::p, Base::lane;
  using typename Base::S;

 public:
  using Extra = Nothing;

  __device__ RowMaxConsumer(const SparseFwdParams& params, const Extra&, S& shared) : Base(params, shared) {}

  __device__ void run() {
    while (this->take_tile()) {
      const auto [head, row, rows_left] = this->place(this->tile_slot);
      float largest[2] = {-INFINITY, -INFINITY};
      for (int step = 0; step < this->steps; ++step) {
        float score[64];
        this->issue_scores(score);
        wgmma_wait<0>();
        pin(score);
        this->mask_and_release(score);
#pragma unroll
        for (int h = 0; h < 2; ++h)
#pragma unroll
          for (int j = 0; j < 16; ++j)
            largest[h] = fmaxf(largest[h], fmaxf(score[4 * j + 2 * h], score[4 * j + 2 * h + 1]));
      }
#pragma unroll
      for (int h = 0; h < 2; ++h) {
        float top = largest[h];
        top = fmaxf(top, __shfl_xor_sync(~0u, top, 1));
        top = fmaxf(top, __shfl_xor_sync(~0u, top, 2));
        if (lane % 4 == 0 && 8 * h < rows_left)
          p.lse[head * p.shape.q_len + row + 8 * h] = top * p.shape.softmax_scale;
      }
    }
  }
};

}  // namespace anchor::kernels::sm90
