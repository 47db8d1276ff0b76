#pragma once

#include "device/wgmma.cuh"
#include "sm90/sparse_fwd/config.cuh"

namespace anchor::kernels::sm90 {

/// What a consumer warpgroup of either mode does: take tiles, hold 64 query rows in registers, multiply them
/// with keys, hide keys that a row may not see. A thread holds two rows, 8 apart.
template <Element element, int head_dim, Mode mode>
class Consumer {
 protected:
  using C = Config<head_dim, mode>;
  using S = Shared<head_dim, mode>;
  static constexpr int query_steps = head_dim / 16;

  __device__ Consumer(const SparseFwdParams& params, S& shared) : p(params), s(shared) {
    lane = threadIdx.x % 32;
    row_in_tile = (threadIdx.x - kProducers) / 32 * 16 + lane / 4;
  }

  /// Waits for the next tile and moves its queries to registers. False: no more work.
  __device__ __forceinline__ bool take_tile() {
    barrier_wait(shared_address(&s.query_full), turn & 1);
    const Tile& tile = s.tile[turn & 1];
    ++turn;
    if (tile.rows == 0) return false;
    head = tile.head;
    row = tile.row + row_in_tile;
    rows_left = tile.rows - row_in_tile;
    set = set_steps(tile);
    steps = set + steps_of(tile.dups);
    const int matrix_row = row_in_tile - lane / 4 + lane % 16;
    const unsigned base = shared_address(s.queries) + matrix_row * 128;
#pragma unroll
    for (int k = 0; k < query_steps; ++k) {
      const int chunk = (2 * k + lane / 16) % 8;
      load_matrices(query[k], base + (k / 4) * (kTileRows * 128) + ((chunk ^ (lane % 8)) * 16));
    }
    __syncwarp();
    if (lane == 0) barrier_arrive(shared_address(&s.query_empty));
    return true;
  }

  /// Issues score = Q K^T for the next key stage.
  __device__ __forceinline__ void issue_scores(float (&score)[64]) {
    barrier_wait(shared_address(&s.key_full[key.stage]), key.parity);
    fence_proxy_async();
    wgmma_fence();
    pin(score);
    const WgmmaDescriptor keys(shared_address(s.keys[key.stage]), 16, 1024);
#pragma unroll
    for (int k = 0; k < query_steps; ++k) {
      const unsigned bytes = (k / 4) * (kKeys * 128) + (k % 4) * 32;
      wgmma<element, 0>(score, query[k], keys.at(bytes), k > 0);
    }
    wgmma_commit();
    key.advance();
  }

  /// After the wait for the scores: hides what a row may not see, then gives the key stage back.
  __device__ __forceinline__ void mask_and_release(float (&score)[64]) {
    if (*reinterpret_cast<const volatile unsigned*>(s.masked[index_slot])) mask(score);
    __syncwarp();
    if (lane == 0) barrier_arrive(shared_address(&s.key_empty[released.stage]));
    released.advance();
    index_slot = C::next_slot(index_slot);
  }

  const SparseFwdParams& p;
  S& s;
  int lane, row_in_tile;                                     // row_in_tile of this thread's first row
  int head = 0, row = 0, rows_left = 0, set = 0, steps = 0;  // of the current tile
  unsigned turn = 0, index_slot = 0;
  Ring<C::stages> key, released;  // the next stage to multiply and to give back
  unsigned query[query_steps][4];

 private:
  __device__ __forceinline__ void mask(float (&score)[64]) {
    // All in byte offsets, which grow with the key.
    const unsigned stride = static_cast<unsigned>(2 * p.stride_kv_token);
    const auto offset = [&](int k) {
      return static_cast<unsigned>(max(0, min(k, static_cast<int>(p.shape.kv_len)))) * stride;
    };
    const unsigned sink = offset(p.plan.sink);
    unsigned end[2], local_begin[2] = {0, 0};  // the row sees [0, sink) and [local_begin, end)
#pragma unroll
    for (int h = 0; h < 2; ++h) {
      const int position = static_cast<int>(p.shape.q_start) + row + 8 * h;
      end[h] = offset(position + 1);
      if (p.plan.local && position < p.plan.dense_from)
        local_begin[h] = offset(position - p.plan.local[head] + 1);
    }
    const unsigned* index =
        s.index[index_slot] + (lane % 4) * 2 * 16;  // columns 8 j + 2 (lane % 4) + e: [e * 16 + j]
#pragma unroll
    for (int n = 0; n < 32; ++n) {
      const unsigned k = index[n % 2 * 16 + n / 2];
#pragma unroll
      for (int h = 0; h < 2; ++h)
        if (k >= end[h] || (k >= sink && k < local_begin[h])) score[n / 2 * 4 + 2 * h + n % 2] = -INFINITY;
    }
  }
};

/// Online softmax over the steps of a tile. While the tensor cores multiply step j's scores and step j - 1's
/// values, the warpgroup computes step j's weights; the next tile's first scores are issued before this
/// tile's output leaves.
template <Element element, int head_dim>
class AttentionConsumer : Consumer<element, head_dim, Mode::attention> {
  using Base = Consumer<element, head_dim, Mode::attention>;
  using Base::p, Base::s, Base::lane;
  using typename Base::C;
  using typename Base::S;

 public:
  __device__ AttentionConsumer(const SparseFwdParams& params, S& shared) : Base(params, shared) {
    scale = p.shape.softmax_scale * 1.44269504f;
  }

  __device__ void run() {
    float score[64], out[head_dim / 2];
    unsigned weight[8][4];
    if (!this->take_tile()) return;
    this->issue_scores(score);
    for (;;) {
      const int head = this->head, row = this->row, rows_left = this->rows_left, steps = this->steps;
      largest[0] = largest[1] = -INFINITY;
      sum[0] = sum[1] = 0;

      wgmma_wait<0>();
      pin(score);
      this->mask_and_release(score);
      softmax(score);
      if (this->set == 1) write_lse(head, row, rows_left);
      pack(weight, score);
      for (int step = 1; step < steps; ++step) {
        this->issue_scores(score);
        issue_values(out, weight, step > 1);
        wgmma_wait<1>();
        pin(score);
        this->mask_and_release(score);
        softmax(score);
        if (step == this->set - 1) write_lse(head, row, rows_left);
        wgmma_wait<0>();
        pin(out);
        release_values();
#pragma unroll
        for (int i = 0; i < head_dim / 2; ++i) out[i] *= rescale[(i / 2) % 2];
        pack(weight, score);
      }
      issue_values(out, weight, steps > 1);
      if (!this->take_tile()) {
        wgmma_wait<0>();
        pin(out);
        write_out(out, head, row, rows_left);
        return;
      }
      this->issue_scores(score);
      wgmma_wait<1>();
      pin(out);
      release_values();
      write_out(out, head, row, rows_left);
    }
  }

 private:
  /// score -> exp(score - largest), and the factor that earlier sums and outputs need.
  __device__ __forceinline__ void softmax(float (&score)[64]) {
#pragma unroll
    for (int h = 0; h < 2; ++h) {
      float top = fmaxf(score[2 * h], score[2 * h + 1]);
#pragma unroll
      for (int j = 1; j < 16; ++j) top = fmaxf(top, fmaxf(score[4 * j + 2 * h], score[4 * j + 2 * h + 1]));
      top = fmaxf(top, __shfl_xor_sync(~0u, top, 1));
      top = fmaxf(top, __shfl_xor_sync(~0u, top, 2));
      top = fmaxf(top, largest[h]);
      const float base =
          top == -INFINITY ? 0 : top * scale;  // nothing visible yet: weights are exp(-inf) = 0
      rescale[h] = exp2_approx(largest[h] * scale - base);
      largest[h] = top;
      float added = 0;
#pragma unroll
      for (int j = 0; j < 16; ++j) {
#pragma unroll
        for (int e = 0; e < 2; ++e) {
          float& x = score[4 * j + 2 * h + e];
          x = exp2_approx(__fmaf_rn(x, scale, -base));
          added += x;
        }
      }
      sum[h] = sum[h] * rescale[h] + added;
    }
  }

  static __device__ __forceinline__ void pack(unsigned (&weight)[8][4], const float (&score)[64]) {
#pragma unroll
    for (int i = 0; i < 32; ++i) weight[i / 4][i % 4] = pack2<element>(score[2 * i], score[2 * i + 1]);
  }

  /// Issues out (+)= weight V for the next value stage.
  __device__ __forceinline__ void issue_values(float (&out)[head_dim / 2], const unsigned (&weight)[8][4],
                                               bool accumulate) {
    barrier_wait(shared_address(&s.value_full[value.stage]), value.parity);
    fence_proxy_async();
    wgmma_fence();
    pin(out);
    const WgmmaDescriptor values(shared_address(s.values[value.stage]), kKeys * 128, 1024);
#pragma unroll
    for (int k = 0; k < kKeys / 16; ++k)
      wgmma<element, 1>(out, weight[k], values.at(k * 16 * 128), accumulate || k > 0);
    wgmma_commit();
  }

  __device__ __forceinline__ void release_values() {
    __syncwarp();
    if (lane == 0) barrier_arrive(shared_address(&s.value_empty[value.stage]));
    value.advance();
  }

  /// The row sums of the four threads that share a row.
  __device__ __forceinline__ float row_sum(int h) const {
    float total = sum[h] + __shfl_xor_sync(~0u, sum[h], 1);
    return total + __shfl_xor_sync(~0u, total, 2);
  }

  /// Called when the visible set is complete: duplicates that follow weigh in the output only.
  __device__ __forceinline__ void write_lse(int head, int row, int rows_left) {
#pragma unroll
    for (int h = 0; h < 2; ++h) {
      const float total = row_sum(h);
      if (p.lse && lane % 4 == 0 && 8 * h < rows_left)
        p.lse[head * p.shape.q_len + row + 8 * h] =
            total == 0 ? -INFINITY : largest[h] * p.shape.softmax_scale + logf(total);
    }
  }

  __device__ __forceinline__ void write_out(const float (&out)[head_dim / 2], int head, int row,
                                            int rows_left) {
    float inverse[2];
#pragma unroll
    for (int h = 0; h < 2; ++h) {
      const float total = row_sum(h);
      inverse[h] = total == 0 ? 0 : 1 / total;
    }
    const std::int64_t offset = head * p.stride_out_head + row * p.stride_out_token;
#pragma unroll
    for (int h = 0; h < 2; ++h) {
      const std::int64_t row_offset = offset + 8 * h * p.stride_out_token;
      const bool valid = 8 * h < rows_left;
      if (p.out_f32) {
        float* target = static_cast<float*>(p.out) + row_offset + lane % 4 * 2;
#pragma unroll
        for (int j = 0; j < head_dim / 8; ++j)
          if (valid)
            *reinterpret_cast<float2*>(target + 8 * j) =
                make_float2(out[4 * j + 2 * h] * inverse[h], out[4 * j + 2 * h + 1] * inverse[h]);
      } else {
        // Two column octets a time: even threads collect the first, odd ones the second, so that the four
        // threads of a row write 32 bytes side by side.
        const int odd = lane % 2;
        auto* target = static_cast<typename ElementTraits<element>::Type*>(p.out) + row_offset + odd * 8 +
                       lane % 4 / 2 * 4;
#pragma unroll
        for (int j = 0; j < head_dim / 8; j += 2) {
          const unsigned first =
              pack2<element>(out[4 * j + 2 * h] * inverse[h], out[4 * j + 2 * h + 1] * inverse[h]);
          const unsigned second =
              pack2<element>(out[4 * j + 4 + 2 * h] * inverse[h], out[4 * j + 5 + 2 * h] * inverse[h]);
          const unsigned received = __shfl_xor_sync(~0u, odd ? first : second, 1);
          if (valid)
            *reinterpret_cast<uint2*>(target + 8 * j) =
                odd ? make_uint2(received, second) : make_uint2(first, received);
        }
      }
    }
  }

  float scale;  // of scores, in log2 units
  float largest[2], sum[2], rescale[2];
  Ring<C::stages> value;
};

}  // namespace anchor::kernels::sm90
