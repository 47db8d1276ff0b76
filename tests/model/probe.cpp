// What the tests of models under transformers need and no tool prints. IDS holds token ids between blanks.
//     model_probe logits MODEL IDS        float32 [tokens, vocabulary] on stdout
//     model_probe ids MODEL TEXT...       the ids of each file's text, a line each
#include <cstdio>
#include <fstream>
#include <iterator>
#include <string_view>
#include <vector>

#include "anchor/base/error.hpp"
#include "anchor/model/dense_attention.hpp"
#include "anchor/model/model_files.hpp"

namespace {

void write_logits(const anchor::ModelFiles& files, const char* path) {
  std::ifstream file(path);
  std::vector<int> ids;
  for (int id = 0; file >> id;) ids.push_back(id);
  const anchor::LanguageModel model = files.model();
  const anchor::AlignedVector<float> hidden = model.forward(
      ids, model.ropes(std::nullopt, std::ssize(ids)),
      {[](int, const anchor::AttentionInputs& in) { return anchor::dense_attention(in); }, {}, {}});
  const auto width = static_cast<std::size_t>(model.config().hidden_size);
  for (std::size_t i = 0; i < ids.size(); ++i) {
    const std::vector<float> logits = model.logits(std::span(hidden).subspan(i * width, width));
    if (std::fwrite(logits.data(), sizeof(float), logits.size(), stdout) != logits.size())
      anchor::fail("cannot write the logits");
  }
}

void write_ids(const anchor::ModelFiles& files, int count, char** paths) {
  const anchor::Tokenizer tokenizer = files.tokenizer();
  for (int n = 0; n < count; ++n) {
    std::ifstream file(paths[n], std::ios::binary);
    const std::string text{std::istreambuf_iterator<char>(file), {}};
    for (const int id : tokenizer.encode(text).ids) std::printf("%d ", id);
    std::printf("\n");
  }
}

}  // namespace

int main(int argc, char** argv) try {
  const std::string_view mode = argc > 3 ? argv[1] : "";
  if (mode != "logits" && mode != "ids") anchor::fail_usage("usage: model_probe logits|ids MODEL FILE...");
  const anchor::ModelFiles files(argv[2]);
  if (mode == "logits") {
    write_logits(files, argv[3]);
  } else {
    write_ids(files, argc - 3, argv + 3);
  }
} catch (const anchor::Error& error) {
  std::fprintf(stderr, "model_probe: %s\n", error.what());
  return 1;
}
