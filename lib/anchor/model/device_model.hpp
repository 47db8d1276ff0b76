#pragma once

#include <memory>
#include <string>

#include "anchor/model/model_runner.hpp"

namespace anchor {

/// Where a device model keeps its weights: all on the device, or two layers at a time, uploaded while others
/// are computed. Automatic: on the device if they take 70 % of its free memory at most. The bits are the
/// same.
enum class WeightMemory : std::uint8_t { automatic, resident, streamed };
/// From auto, resident or stream.
WeightMemory parse_weight_memory(const std::string& name);
/// Why only auto is for the CPU.
inline constexpr const char* weights_need_cuda =
    "--weights is about a CUDA device; on the CPU weights stay in the mapped file";

/// The forward pass of a language model on a device: products in bf16 on weights rounded to bf16 (float32
/// sums), the residual stream in float32, attention by the engine's kernels on bf16 heads.
///
/// With dense attention, rows before and after TextRun::prompt are launched as they are with a method: a plan
/// that keeps every block gives the very bits of dense attention.
class DeviceModel : public ModelRunner {
 public:
  struct Hooks {
    MethodAttention* attention = nullptr;  ///< nullptr: dense
    std::function<bool(int)> wants_layer;  ///< which layers on_layer gets; empty: none
    bool wants_result = false;             ///< on_layer gets attention's output and lse, too
    LayerFn on_layer;                      ///< heads as the kernels read them, as floats
    ProgressFn on_progress;                ///< may be empty
  };
  /// Negative log-likelihoods (nats) of tokens 1..N-1 given their past.
  virtual std::vector<double> forward(std::span<const int> tokens, const Ropes& ropes,
                                      const Hooks& hooks) = 0;
};

/// The model on a CUDA device; it must outlive what is returned. A data error without a device, kernels for
/// the model's head dimension, or cuBLAS.
std::unique_ptr<DeviceModel> make_cuda_model(const LanguageModel& model, int device,
                                             WeightMemory memory = WeightMemory::automatic);

/// The model on the device that a text names: auto, cpu, cuda or cuda:N.
std::unique_ptr<ModelRunner> make_runner(const LanguageModel& model, const std::string& device,
                                         WeightMemory memory = WeightMemory::automatic);

}  // namespace anchor
