#pragma once

#include <future>

#include "anchor/kernels/device.hpp"
#include "anchor/model/device_model.hpp"
#include "anchor/model/packing.hpp"

namespace anchor {

/// A layer's weights on the device (PackedLayer); nullptr = the model has none.
struct DeviceLayer {
  const float *attention_norm, *ffn_norm, *q_norm, *k_norm, *post_attention_norm, *post_ffn_norm;
  const float *qkv_bias, *output_bias, *gate_up_bias, *down_bias;
  const void *qkv, *output, *router, *gate_up, *down;
};

/// The weights of a model on a device: all of them, or two layers at a time where they do not fit. Either
/// way another thread packs the next layer into page-locked memory, and a stream of its own uploads it,
/// while the layer at hand is computed.
class DeviceWeights {
 public:
  DeviceWeights(const LanguageModel& model, WeightMemory memory, int device);
  ~DeviceWeights();
  DeviceWeights(const DeviceWeights&) = delete;
  DeviceWeights& operator=(const DeviceWeights&) = delete;

  /// The weights of a layer, for what is launched on `compute` until done(). Layers are asked for one at a
  /// time.
  DeviceLayer layer(int n, const kernels::Stream& compute);
  /// Everything that reads the layer has been launched.
  void done(const kernels::Stream& compute);
  /// The matrix that makes logits, bf16 [vocab_size, hidden].
  const void* output(const kernels::Stream& compute);
  bool streamed() const { return streamed_; }

 private:
  struct Slot {
    kernels::DeviceBuffer memory;
    kernels::Event used;  ///< by the last launch that reads it
  };
  struct Stage {
    kernels::PinnedBuffer memory;
    kernels::Event copied;  ///< the last upload from it
  };
  void start(int n);
  void load(int n);  ///< in a thread of its own
  Slot& slot_of(int n, std::size_t turn) {
    return slots_[streamed_ ? turn % 2 : static_cast<std::size_t>(n)];
  }
  DeviceLayer view(int n, const kernels::DeviceBuffer& memory) const;

  const LanguageModel& model_;
  int device_;
  bool streamed_ = false;
  std::vector<PackedLayer> parts_;
  std::size_t largest_ = 0;  ///< bytes of a layer
  std::vector<Slot> slots_;  ///< one per layer, or two
  Stage stages_[2];
  std::vector<bool> loaded_;  ///< for good
  kernels::DeviceBuffer output_;
  kernels::Stream copies_;
  std::future<void> pending_;  ///< the layer that is on its way
  int pending_layer_ = -1;
  std::size_t turn_ = 0;  ///< loads begun
  Slot* hand_ = nullptr;  ///< of the layer at hand
};

}  // namespace anchor
