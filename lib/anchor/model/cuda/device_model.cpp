#include "anchor/model/device_model.hpp"

#include <algorithm>
#include <cmath>

#include "anchor/base/error.hpp"
#include "anchor/base/parallel.hpp"
#include "anchor/engine/cuda/cublas.hpp"
#include "anchor/kernels/model.hpp"
#include "anchor/model/cuda/expert_mixture.hpp"
#include "anchor/model/cuda/layer_attention.hpp"
#include "anchor/model/cuda/weights.hpp"
#include "anchor/model/row_ops.hpp"

namespace anchor {
namespace {

constexpr std::int64_t row_chunk = 16384, logit_rows = 1024;

std::size_t size(std::int64_t items) { return static_cast<std::size_t>(items); }

template <class Body>
void for_chunks(std::int64_t rows, std::int64_t chunk, Body body) {
  for (std::int64_t begin = 0; begin < rows; begin += chunk) body(begin, std::min(chunk, rows - begin));
}

/// What depends on the text alone: its embeddings, and the angles of its positions. The same text is read
/// once for every method.
class Text {
 public:
  Text(const LanguageModel& model, std::span<const int> tokens, const Ropes& ropes,
       const kernels::Stream& stream)
      : tokens_(tokens.begin(), tokens.end()), ropes_(ropes), angles_(ropes.kinds.size()) {
    embedded_.upload<float>(model.embed(tokens), stream);
    std::vector<float> cos, sin;
    for (std::size_t kind = 0; kind < angles_.size(); ++kind) {
      ropes.kinds[kind].tables(std::ssize(tokens), cos, sin);
      angles_[kind].cos.upload<float>(cos, stream);
      angles_[kind].sin.upload<float>(sin, stream);
    }
  }

  bool is(std::span<const int> tokens, const Ropes& ropes) const {
    return std::ranges::equal(tokens, tokens_) && ropes.of_layer == ropes_.of_layer &&
           std::ranges::equal(ropes.kinds, ropes_.kinds, [](const Rope& a, const Rope& b) {
             return a.inv_freq == b.inv_freq && a.attention_factor == b.attention_factor;
           });
  }

  struct Angles {
    DeviceValues cos, sin;
  };
  const Ropes& ropes() const { return ropes_; }
  const Angles& angles(const Rope& rope) const {
    return angles_[static_cast<std::size_t>(&rope - ropes_.kinds.data())];
  }
  const float* embedded() const { return embedded_.data<float>(); }

 private:
  std::vector<int> tokens_;
  Ropes ropes_;
  DeviceValues embedded_;
  std::vector<Angles> angles_;
};

class CudaModel final : public DeviceModel {
 public:
  CudaModel(const LanguageModel& model, int device, WeightMemory memory)
      : model_(model),
        config_(model.config()),
        info_(kernels::device_info(device)),
        path_(kernels::path_name(kernels::Path::automatic, info_)),
        gemm_(stream_),
        experts_(config_, gemm_, stream_),
        weights_(model, memory, device) {}

  const LanguageModel& model() const override { return model_; }
  std::string device() const override { return info_.name; }
  std::string path() const override { return path_; }

  std::vector<double> forward(std::span<const int> tokens, const Ropes& ropes, const Hooks& hooks) override {
    return guarded([&] {
      const kernels::PooledMemory pooled(stream_);
      Pass pass(*this, text_of(tokens, ropes),
                {.tokens = std::ssize(tokens),
                 .prompt = std::ssize(tokens),
                 .method = hooks.attention,
                 .wants_lse = hooks.wants_result});
      pass.run(hooks);
      pass.finish();
      return pass.likelihoods(tokens);
    });
  }

  TextResult run(const TextRun& asked) override {
    return guarded([&] {
      const kernels::PooledMemory pooled(stream_);
      Pass pass(*this, text_of(asked.tokens, *asked.ropes),
                {.tokens = std::ssize(asked.tokens),
                 .prompt = asked.prompt,
                 .method = asked.attention,
                 .whole_layers = asked.whole_layers,
                 .timed = true,
                 .evidence = asked.evidence,
                 .evidence_row = asked.evidence_row,
                 .warm = &warm_});
      pass.run({});
      std::vector<float> logits = pass.logits(asked.of);
      TextResult result = pass.finish();
      result.logits = std::move(logits);
      if (!all_finite(result.logits))
        fail("{}: the logits are NaN or infinite: they overflow", model_.path());
      return result;
    });
  }

 private:
  /// One text on its way through the layers.
  class Pass {
   public:
    Pass(CudaModel& owner, const Text& text, const LayerAttention::Task& task)
        : m_(owner),
          c_(owner.config_),
          stream_(owner.stream_),
          text_(text),
          n_(task.tokens),
          attention_(owner.model_, task, owner.stream_),
          x_(size(n_ * c_.hidden_size) * sizeof(float)),
          normed_(size(std::min(n_, row_chunk) * std::max(c_.hidden_size, c_.ffn_size)) * 2),
          wide_(size(std::min(n_, row_chunk) * std::max({2 * c_.ffn_size, qkv_size(), c_.hidden_size})) *
                sizeof(float)) {
      kernels::copy_on_device(x_.data(), text.embedded(), x_.bytes(), stream_);
    }

    void run(const Hooks& hooks) {
      for (int layer = 0; layer < c_.layers; ++layer) {
        check_interrupt();
        const DeviceLayer w = m_.weights_.layer(layer, stream_);
        project_heads(layer, w);
        attention_.run(layer);
        if (hooks.wants_layer && hooks.wants_layer(layer)) report(layer, hooks);
        feed_forward(w);
        m_.weights_.done(stream_);
        if (hooks.on_progress) hooks.on_progress(layer + 1, c_.layers);
      }
    }

    TextResult finish() {
      TextResult result;
      attention_.finish(result);
      return result;
    }

    std::vector<double> likelihoods(std::span<const int> tokens) {
      const std::vector<std::int32_t> next(tokens.begin() + 1, tokens.end());
      DeviceValues targets;
      if (!next.empty()) targets.upload<std::int32_t>(next, stream_);
      const kernels::DeviceBuffer nll(size(n_) * sizeof(float));
      for_logits(
          n_ - 1, [](std::int64_t n) { return n; },
          [&](std::int64_t begin, std::int64_t rows, const float* logits) {
            kernels::negative_log_likelihood(logits, targets.data<std::int32_t>() + begin, rows,
                                             c_.vocab_size, nll.data<float>() + begin, stream_);
          });
      std::vector<float> values(size(n_ - 1));
      nll.download(values.data(), values.size() * sizeof(float), stream_);
      return {values.begin(), values.end()};
    }

    /// Of some rows, [rows, vocab_size].
    std::vector<float> logits(std::span<const std::int64_t> of) {
      std::vector<float> values(of.size() * size(c_.vocab_size));
      for_logits(
          std::ssize(of), [&](std::int64_t n) { return of[size(n)]; },
          [&](std::int64_t begin, std::int64_t rows, const float* logits) {
            kernels::download(values.data() + begin * c_.vocab_size, logits,
                              size(rows * c_.vocab_size) * sizeof(float), stream_);
          });
      return values;
    }

   private:
    std::int64_t q_size() const { return std::int64_t{c_.q_heads} * c_.head_dim; }
    std::int64_t qkv_size() const { return (c_.q_heads + 2 * std::int64_t{c_.kv_heads}) * c_.head_dim; }
    float eps() const { return static_cast<float>(c_.rms_norm_eps); }
    float* x(std::int64_t row) const { return x_.data<float>() + row * c_.hidden_size; }

    void norm(const float* weight, std::int64_t begin, std::int64_t rows, std::int64_t to = 0) {
      kernels::rms_norm(x(begin), weight, eps(), rows, static_cast<int>(c_.hidden_size),
                        normed_.data<char>() + 2 * to * c_.hidden_size, stream_);
    }

    void add_bias(const float* bias, std::int64_t rows, std::int64_t width, float* x) {
      if (bias) kernels::add_bias(bias, rows, width, x, stream_);
    }

    /// Makes logits of `count` rows, row_of(0), row_of(1), …, in pieces: use(begin, rows, logits) may read
    /// them.
    template <class RowOf, class Use>
    void for_logits(std::int64_t count, RowOf row_of, Use use) {
      if (count < 1) return;
      norm_.upload<float>(m_.model_.output_norm(), stream_);
      const void* const weights = m_.weights_.output(stream_);
      const std::int64_t piece = std::min({count, logit_rows, n_});
      const kernels::DeviceBuffer logits(size(piece * c_.vocab_size) * sizeof(float));
      for_chunks(count, piece, [&](std::int64_t begin, std::int64_t rows) {
        for (std::int64_t n = 0, run = 1; n < rows; n += run, run = 1) {  // neighbours in one launch
          const std::int64_t first = row_of(begin + n);
          while (n + run < rows && row_of(begin + n + run) == first + run) ++run;
          norm(norm_.data<float>(), first, run, n);
        }
        m_.gemm_.run(rows, c_.vocab_size, c_.hidden_size, normed_.data(), weights, logits.data<float>(),
                     false);
        use(begin, rows, logits.data<float>());
      });
    }

    void project_heads(int layer, const DeviceLayer& w) {
      for_chunks(n_, row_chunk, [&](std::int64_t begin, std::int64_t rows) {
        norm(w.attention_norm, begin, rows);
        m_.gemm_.run(rows, qkv_size(), c_.hidden_size, normed_.data(), w.qkv, wide_.data<float>(), false);
        add_bias(w.qkv_bias, rows, qkv_size(), wide_.data<float>());
        split_heads(layer, w, attention_.heads(), begin, rows);
        CudaInputs* const prompt = attention_.prompt_heads();
        const std::int64_t of_prompt = prompt ? std::min(rows, prompt->geometry().q_len - begin) : 0;
        if (of_prompt > 0) split_heads(layer, w, *prompt, begin, of_prompt);
      });
    }

    void split_heads(int layer, const DeviceLayer& w, CudaInputs& into, std::int64_t begin,
                     std::int64_t rows) {
      const Rope* rope = text_.ropes().of(layer);
      const Text::Angles* angles = rope ? &text_.angles(*rope) : nullptr;
      kernels::split_heads({.projected = wide_.data<float>(),
                            .cos = angles ? angles->cos.data<float>() : nullptr,
                            .sin = angles ? angles->sin.data<float>() : nullptr,
                            .q = into.q_data(),
                            .k = into.k_data(),
                            .v = into.v_data(),
                            .q_heads = c_.q_heads,
                            .kv_heads = c_.kv_heads,
                            .dim = c_.head_dim,
                            .tokens = into.geometry().q_len,
                            .begin = begin,
                            .rows = rows,
                            .rotated = rope ? static_cast<int>(2 * rope->inv_freq.size()) : 0,
                            .q_norm = w.q_norm,
                            .k_norm = w.k_norm,
                            .eps = eps()},
                           stream_);
    }

    /// The stream of some rows grows by a product with weights.
    void add_product(std::int64_t begin, std::int64_t rows, const void* in, std::int64_t width,
                     const void* weights, const float* bias, const float* post_norm) {
      float* const into = post_norm ? wide_.data<float>() : x(begin);
      m_.gemm_.run(rows, c_.hidden_size, width, in, weights, into, post_norm == nullptr);
      add_bias(bias, rows, c_.hidden_size, into);
      if (post_norm) {
        kernels::add_rms_norm(into, post_norm, eps(), rows, static_cast<int>(c_.hidden_size), x(begin),
                              stream_);
      }
    }

    void feed_forward(const DeviceLayer& w) {
      const auto gate = gate_kernel(c_);
      for_chunks(n_, row_chunk, [&](std::int64_t begin, std::int64_t rows) {
        add_product(begin, rows, attention_.out().data<char>() + begin * q_size() * 2, q_size(), w.output,
                    w.output_bias, w.post_attention_norm);
        norm(w.ffn_norm, begin, rows);
        if (w.router) {
          m_.experts_.run(w, rows, normed_.data(), x(begin));
          return;
        }
        m_.gemm_.run(rows, 2 * c_.ffn_size, c_.hidden_size, normed_.data(), w.gate_up, wide_.data<float>(),
                     false);
        add_bias(w.gate_up_bias, rows, 2 * c_.ffn_size, wide_.data<float>());
        gate(wide_.data<float>(), rows, static_cast<int>(c_.ffn_size), normed_.data(), stream_);
        add_product(begin, rows, normed_.data(), c_.ffn_size, w.down, w.down_bias, w.post_ffn_norm);
      });
    }

    /// Hands a layer's heads to the hook.
    void report(int layer, const Hooks& hooks) {
      const FloatGroup& host = attention_.heads().host();
      AttentionResult result;
      if (hooks.wants_result) {
        const kernels::DeviceBuffer& out = attention_.out();
        std::vector<std::byte> bytes(out.bytes());
        out.download(bytes.data(), bytes.size(), stream_);
        std::vector<float> rows(bytes.size() / 2);
        to_float(DType::bf16, bytes.data(), rows);
        result.lse.assign(attention_.lse().begin(), attention_.lse().end());
        result.out.resize(rows.size());
        for (std::int64_t token = 0; token < n_; ++token) {
          for (int head = 0; head < c_.q_heads; ++head)
            std::copy_n(rows.begin() + (token * c_.q_heads + head) * c_.head_dim, c_.head_dim,
                        result.out.begin() + (head * n_ + token) * c_.head_dim);
        }
      }
      hooks.on_layer(layer, host.view(), result);
      attention_.heads().forget_host();
    }

    CudaModel& m_;
    const ModelConfig& c_;
    const kernels::Stream& stream_;
    const Text& text_;
    std::int64_t n_;
    LayerAttention attention_;
    kernels::DeviceBuffer x_, normed_, wide_;
    DeviceValues norm_;
  };

  const Text& text_of(std::span<const int> tokens, const Ropes& ropes) {
    if (!text_ || !text_->is(tokens, ropes)) {
      text_.reset();
      text_ = std::make_unique<Text>(model_, tokens, ropes, stream_);
    }
    return *text_;
  }

  const LanguageModel& model_;
  const ModelConfig& config_;
  kernels::DeviceInfo info_;
  std::string path_;
  kernels::Stream stream_;
  CublasGemm gemm_;
  ExpertMixture experts_;
  DeviceWeights weights_;
  std::unique_ptr<Text> text_;  ///< the last one
  std::set<std::string> warm_;  ///< methods that have run
};

}  // namespace

std::unique_ptr<DeviceModel> make_cuda_model(const LanguageModel& model, int device, WeightMemory memory) {
  return guarded([&]() -> std::unique_ptr<DeviceModel> {
    kernels::set_device(device);
    const kernels::DeviceInfo info = kernels::device_info(device);
    if (!kernels::path_name(kernels::Path::automatic, info))
      fail("device cuda:{} ({}): compute capability {}.{}; the kernels need 8.0 or newer", device, info.name,
           info.major, info.minor);
    return std::make_unique<CudaModel>(model, device, memory);
  });
}

}  // namespace anchor
