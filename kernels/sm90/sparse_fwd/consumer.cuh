#pragma once

#include <type_traits>

#include "device/wgmma.cuh"
#include "sm90/sparse_fwd/config.cuh"
#include "sm90/sparse_fwd/pooling.cuh"

namespace anchor::kernels::sm90 {

/// What a consumer warpgroup of either mode does: take tiles, hold 64 query rows in registers, multiply them
/// with keys, hide keys that a row may not see. A thread holds two rows, 8 apart.
template <Element element, int head_dim, Mode mode>
class Consumer {
 protected:
  using C = Config<head_dim, mode>;
  using S = Shared<head_dim, mode>;
  static constexpr bool joined = mode == Mode::joined;
  static constexpr int query_steps = head_dim / 16;

  __device__ Consumer(const SparseFwdParams& params, S& shared) : p(params), s(shared) {
    lane = threadIdx.x % 32;
    row_in_tile = (threadIdx.x - kProducers) / 32 * 16 + lane / 4;
    half = __shfl_sync(~0u, row_in_tile / (kTileRows / kConsumers), 0);
  }

  /// Waits for the next tile and moves its queries to registers. False: no more work.
  __device__ __forceinline__ bool take_tile() {
    barrier_wait(shared_address(&s.query_full), parity);
    parity ^= 1;
    tile_slot = (tile_slot + 1) % kTileSlots;
    const typename C::Record& tile = s.tile[tile_slot];
    if (tile.rows == 0) return false;
    set = set_steps(tile);
    if constexpr (joined) {
      common = set;
      others = steps_of(tile.own[1 - half]);
      steps = set += steps_of(tile.own[half]);
    } else {
      steps = set + steps_of(tile.trailing);
    }
#pragma unroll
    for (int k = 0; k < query_steps; ++k)
      load_matrices(query[k], matrix_address(shared_address(s.queries), k));
    if (mode != Mode::region) release_queries();
    return true;
  }
  /// Nobody needs the queries in shared memory any more.
  __device__ __forceinline__ void release_queries() {
    __syncwarp();
    if (lane == 0) barrier_arrive(shared_address(&s.query_empty));
  }

  // The steps of a joined tile: first those of keys that both warpgroups take, then the warpgroups take
  // turns, the first one first, as long as both have own steps left, then the rest. With two common steps c,
  // three of the first warpgroup, a, and one of the second, b, the producers make c c a b a a. The first
  // warpgroup counts c c a a a as its steps 0 to 4, and the other one's b lies before its step 3; the second
  // counts c c b, an a lies before its step 2, and two more come after its last.
  /// Which of the other warpgroup's own steps lies right before this one's `step`, if it exists.
  __device__ __forceinline__ int turn_before(int step) const { return step - common - 1 + half; }
  /// Does it exist?
  __device__ __forceinline__ bool other_before(int step) const {
    // 0 <= turn < others in one comparison: a negative turn becomes a large number.
    return joined && static_cast<unsigned>(turn_before(step)) < static_cast<unsigned>(others);
  }
  /// Steps of the other warpgroup after this one's last.
  __device__ __forceinline__ int others_left() const {
    return joined ? others - min(max(turn_before(steps), 0), others) : 0;
  }
  __device__ __forceinline__ void pass_keys(unsigned count) {
    if (!joined) return;
    key.advance(count);
    released.advance(count);
    index_slot = (index_slot + count) % C::index_slots;
  }

  /// Where a thread's row of columns [16 k, 16 k + 16) of a tile begins, as load_matrices takes it: rows and
  /// rows + 8 of the first eight columns, then of the other eight.
  __device__ __forceinline__ unsigned matrix_address(unsigned tile, int k) const {
    const int matrix_row = row_in_tile - lane / 4 + lane % 16, chunk = (2 * k + lane / 16) % 8;
    return tile + matrix_row * 128 + (k / 4) * (kTileRows * 128) + ((chunk ^ (lane % 8)) * 16);
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
    if (const unsigned masked = *reinterpret_cast<const volatile unsigned*>(s.masked[index_slot])) {
      if (mode == Mode::corrected && (masked & kMeans))
        raise_means(score);
      else
        mask(score);
    }
    __syncwarp();
    if (lane == 0) barrier_arrive(shared_address(&s.key_empty[released.stage]));
    released.advance();
    index_slot = C::next_slot(index_slot);
  }

  const SparseFwdParams& p;
  S& s;
  /// Where this thread's first row lies, and whether it is one, in a tile whose record is in shared memory:
  /// registers are short.
  struct Place {
    int head, row, rows_left;
  };
  __device__ __forceinline__ Place place(unsigned slot) const {
    const typename C::Record& tile = s.tile[slot];
    if (!joined) return {tile.head, tile.row + row_in_tile, tile.rows - row_in_tile};
    const int head = row_in_tile / p.plan.q_tile, row = row_in_tile % p.plan.q_tile;
    return {tile.head + head, tile.row + row, tile.rows - row};
  }

  int lane, row_in_tile, half;  // row_in_tile of this thread's first row, half of the tile of its warpgroup
  int set = 0, steps = 0;       // of the current tile
  int common = 0, others = 0;   // of a joined tile: steps of both warpgroups, further ones of the other alone
  unsigned parity = 0, tile_slot = kTileSlots - 1, index_slot = 0;
  Ring<C::stages> key, released;  // the next stage to multiply and to give back
  unsigned query[query_steps][4];

 private:
  /// A mean counts as several keys: its score gains the logarithm of their number.
  __device__ __forceinline__ void raise_means(float (&score)[64]) {
    const unsigned* gain = s.index[index_slot] + (lane % 4) * 2 * 16;
#pragma unroll
    for (int n = 0; n < 32; ++n) {
      const float x = __uint_as_float(gain[n % 2 * 16 + n / 2]);
#pragma unroll
      for (int h = 0; h < 2; ++h) score[n / 2 * 4 + 2 * h + n % 2] += x;
    }
  }
  __device__ __forceinline__ void mask(float (&score)[64]) {
    // All in byte offsets, which grow with the key.
    const unsigned stride = static_cast<unsigned>(2 * p.stride_kv_token);
    const auto offset = [&](int k) {
      return static_cast<unsigned>(max(0, min(k, static_cast<int>(p.shape.kv_len)))) * stride;
    };
    const auto [head, row, rows_left] = place(tile_slot);
    const unsigned* index =
        s.index[index_slot] + (lane % 4) * 2 * 16;  // columns 8 j + 2 (lane % 4) + e: [e * 16 + j]
                                                    // One row after the other: registers are short.
#pragma unroll
    for (int h = 0; h < 2; ++h) {
      const int position = static_cast<int>(p.shape.q_start) + row + 8 * h;
      // The row sees [first, first + sinks) and [local_begin, end).
      const unsigned first =
          p.shape.sliding_window > 0 ? offset(position + 1 - static_cast<int>(p.shape.sliding_window)) : 0;
      const unsigned sinks = max(offset(p.plan.sink), first) - first, end = offset(position + 1);
      unsigned local_begin = first;
      if (p.plan.local && position < p.plan.dense_from)
        local_begin = max(first, offset(position - p.plan.local[head] + 1));
#pragma unroll
      for (int n = 0; n < 32; ++n) {
        const unsigned k = index[n % 2 * 16 + n / 2];
        if (k >= end || (k < local_begin && k - first >= sinks)) score[n / 2 * 4 + 2 * h + n % 2] = -INFINITY;
      }
    }
  }
};

/// Online softmax over the steps of a tile. While the tensor cores multiply step j's scores and step j - 1's
/// values, the warpgroup computes step j's weights; the next tile's first scores are issued before this
/// tile's output leaves.
template <Element element, int head_dim, Mode mode>
class AttentionConsumer : Consumer<element, head_dim, mode> {
  using Base = Consumer<element, head_dim, mode>;
  using Base::p, Base::s, Base::lane;
  using typename Base::C;
  using typename Base::S;

 public:
  using Extra = std::conditional_t<mode == Mode::region, Pooling, Nothing>;

  __device__ AttentionConsumer(const SparseFwdParams& params, const Extra& extra, S& shared)
      : Base(params, shared), extra(extra) {
    scale = p.shape.softmax_scale * 1.44269504f;
  }

  __device__ void run() {
    float score[64], out[head_dim / 2];
    unsigned weight[8][4];
    if (!next_tile()) return;
    this->issue_scores(score);
    pool();
    for (;;) {
      const int steps = this->steps;
      wgmma_wait<0>();
      pin(score);
      weigh(score, 0);
      pack(weight, score);
      for (int step = 1; step < steps; ++step) {
        if (this->other_before(step)) this->pass_keys(1);
        this->issue_scores(score);
        if (this->other_before(step - 1)) value.advance();
        issue_values(out, weight, step > 1);
        wgmma_wait<1>();
        pin(score);
        weigh(score, step);
        wgmma_wait<0>();
        pin(out);
        release_values();
#pragma unroll
        for (int i = 0; i < head_dim / 2; ++i) out[i] *= rescale[(i / 2) % 2];
        pack(weight, score);
      }
      if (this->other_before(steps - 1)) value.advance();
      issue_values(out, weight, steps > 1);
      const Finished tile = finish_tile();
      if constexpr (mode == Mode::joined) {
        // The producers may have to reuse this stage before they come to the next tile.
        wait_values<0>(out);
        value.advance(this->others_left());
        this->pass_keys(this->others_left());
      }
      if (!next_tile()) {
        if (mode != Mode::joined) wait_values<0>(out);
        leave(out, tile);
        return;
      }
      this->issue_scores(score);
      pool();
      if (mode != Mode::joined) wait_values<1>(out);
      leave(out, tile);
    }
  }

 private:
  /// A tile whose weights are complete.
  struct Finished {
    unsigned slot;     ///< of its record
    float inverse[2];  ///< makes its rows' sums of values means
    float earlier[2];  ///< what the earlier pass's output weighs
  };
  __device__ __forceinline__ Finished finish_tile() const {
    Finished tile{this->tile_slot};
#pragma unroll
    for (int h = 0; h < 2; ++h) {
      const float total = row_sum(h);
      tile.inverse[h] = total == 0 ? 0 : 1 / total;
      if (C::goes_on)
        tile.earlier[h] = exp2_approx(__fmul_rn(earlier_largest[h], scale) - __fmul_rn(largest[h], scale)) *
                          tile.inverse[h];
    }
    return tile;
  }

  __device__ __forceinline__ bool next_tile() {
    if (!this->take_tile()) return false;
    if (C::goes_on) {
      const auto [head, row, rows_left] = this->place(this->tile_slot);
#pragma unroll
      for (int h = 0; h < 2; ++h)
        earlier_largest[h] =
            8 * h < rows_left ? p.lse[head * p.shape.q_len + row + 8 * h] / p.shape.softmax_scale : 0;
    }
    return true;
  }

  /// While a tile's first scores are under way.
  __device__ __forceinline__ void pool() {
    if constexpr (mode == Mode::region) {
      extra.template pool_queries<element, head_dim>(s.queries, s.tile[this->tile_slot]);
      this->release_queries();
    }
  }

  /// The softmax state before a tile's first step: empty, or what the earlier pass left.
  __device__ __forceinline__ void begin_rows() {
#pragma unroll
    for (int h = 0; h < 2; ++h) {
      largest[h] = C::goes_on ? earlier_largest[h] : -INFINITY;
      sum[h] = C::goes_on && lane % 4 == 0 ? 1 : 0;
    }
  }

  /// A step's scores become its weights.
  __device__ __forceinline__ void weigh(float (&score)[64], int step) {
    this->mask_and_release(score);
    if (step == 0) begin_rows();
    softmax(score);
    if (step == this->set - 1) finish_set();
  }

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
      // Nothing visible yet: weights are exp(-inf) = 0. The product is rounded here and in the factor alike,
      // so that the factor is exactly 1 while the largest score stays; a fused one would drift with every
      // step.
      const float base = top == -INFINITY ? 0 : __fmul_rn(top, scale);
      rescale[h] = exp2_approx(__fmul_rn(largest[h], scale) - base);
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

  template <int pending>
  __device__ __forceinline__ void wait_values(float (&out)[head_dim / 2]) {
    wgmma_wait<pending>();
    pin(out);
    release_values();
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
  __device__ __forceinline__ void finish_set() {
    const auto [head, row, rows_left] = this->place(this->tile_slot);
    float anchors = 0;
#pragma unroll
    for (int h = 0; h < 2; ++h) {
      const float total = row_sum(h), top = largest[h] * p.shape.softmax_scale;
      const float lse = total == 0 ? -INFINITY : top + logf(total);
      if (p.lse && lane % 4 == 0 && 8 * h < rows_left) p.lse[head * p.shape.q_len + row + 8 * h] = lse;
      if constexpr (mode == Mode::region)
        if (8 * h < rows_left) anchors += extra.layout.stripes ? lse : top;
    }
    if constexpr (mode == Mode::region) extra.pool_anchors(anchors, s.tile[this->tile_slot]);
  }

  __device__ __forceinline__ void leave(const float (&out)[head_dim / 2], const Finished& tile) {
    if ((mode == Mode::attention || mode == Mode::joined) && p.out_f32)
      write_out<true>(out, tile);
    else
      write_out<false>(out, tile);
  }

  template <bool unrounded>
  __device__ __forceinline__ void write_out(const float (&out)[head_dim / 2], const Finished& tile) {
    const auto [head, row, rows_left] = this->place(tile.slot);
    const std::int64_t offset = head * p.stride_out_head + row * p.stride_out_token;
    if (C::goes_on) barrier_wait(shared_address(&s.value_full[value.stage]), value.parity);
#pragma unroll
    for (int k = 0; k < head_dim / 16; ++k) {
      unsigned earlier[4];  // of 16 columns: rows and rows + 8 of the first octet, then of the second
      if (C::goes_on) load_matrices(earlier, this->matrix_address(shared_address(s.values[value.stage]), k));
#pragma unroll
      for (int h = 0; h < 2; ++h) {
        float2 octet[2];
#pragma unroll
        for (int i = 0; i < 2; ++i) {
          const float* sum = out + 8 * k + 4 * i + 2 * h;
          octet[i] = make_float2(sum[0] * tile.inverse[h], sum[1] * tile.inverse[h]);
          if (C::goes_on) {
            const float2 old = unpack2<element>(earlier[2 * i + h]);
            octet[i].x = __fmaf_rn(old.x, tile.earlier[h], octet[i].x);
            octet[i].y = __fmaf_rn(old.y, tile.earlier[h], octet[i].y);
          }
        }
        const std::int64_t row_offset = offset + 8 * h * p.stride_out_token + 16 * k;
        const bool valid = 8 * h < rows_left;
        if (unrounded) {
          float* target = static_cast<float*>(p.out) + row_offset + lane % 4 * 2;
          if (valid) {
            *reinterpret_cast<float2*>(target) = octet[0];
            *reinterpret_cast<float2*>(target + 8) = octet[1];
          }
        } else {
          // Even threads collect the first octet, odd ones the second, so that the four threads of a row
          // write 32 bytes side by side.
          const int odd = lane % 2;
          auto* target = static_cast<typename ElementTraits<element>::Type*>(p.out) + row_offset + odd * 8 +
                         lane % 4 / 2 * 4;
          const unsigned first = pack2<element>(octet[0].x, octet[0].y);
          const unsigned second = pack2<element>(octet[1].x, octet[1].y);
          const unsigned received = __shfl_xor_sync(~0u, odd ? first : second, 1);
          if (valid)
            *reinterpret_cast<uint2*>(target) =
                odd ? make_uint2(received, second) : make_uint2(first, received);
        }
      }
    }
    if (C::goes_on) release_values();
  }

  const Extra& extra;
  float scale;  // of scores, in log2 units
  float largest[2], sum[2], rescale[2];
  float earlier_largest[2];  // stands for the earlier pass's sum: exp(earlier_largest * softmax_scale)
  Ring<C::stages> value;
};

}  // namespace anchor::kernels::sm90
