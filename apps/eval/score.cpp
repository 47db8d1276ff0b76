#include "eval/score.hpp"

#include <fmt/format.h>

#include <memory>

#include "anchor/base/error.hpp"
#include "anchor/base/text_file.hpp"
#include "anchor/eval/string_match.hpp"
#include "anchor/rows/json_fields.hpp"
#include "cli/streams.hpp"

namespace anchor::eval {
namespace {

struct Score {
  std::int64_t n = 0;
  double all = 0, part = 0;
};

Score score_file(const std::string& path) {
  LineReader lines(path);
  Score score;
  while (const auto line = lines.next()) {
    if (line->text.empty()) continue;
    const std::string where = fmt::format("{}:{}", path, line->number);
    const std::optional<Json> json = parse_json(line->text);
    if (!json) fail("{}: not JSON", where);
    JsonFields fields(*json, where);
    const std::string prediction = fields.need_text("pred");
    std::vector<std::string> outputs;
    fields.need("outputs");
    fields.texts("outputs", outputs);
    if (outputs.empty()) fields.wrong("outputs", "is empty");
    const StringMatch match = string_match(prediction, outputs);
    ++score.n;
    score.all += match.all;
    score.part += match.part;
  }
  if (score.n == 0) fail("{}: no predictions", path);
  return score;
}

int run(const std::vector<std::string>& files) {
  for (const std::string& path : files) {
    const Score score = score_file(path);
    const auto n = static_cast<double>(score.n);
    cli::print_out(json_text(Json{{"file", path},
                                  {"n", score.n},
                                  {"string_match_all", 100 * score.all / n},
                                  {"string_match_part", 100 * score.part / n}}) +
                   "\n");
  }
  return 0;
}

}  // namespace

void setup_score(CLI::App& app, cli::Command& command) {
  auto files = std::make_shared<std::vector<std::string>>();
  CLI::App* sub =
      app.add_subcommand("score", "Score predictions for tasks --ruler as RULER does, in percent");
  sub->footer("anchor-eval score predictions.jsonl");
  sub->add_option("FILES", *files, "Lines with \"pred\", a text, and \"outputs\", as --ruler writes them")
      ->required()
      ->type_name("FILE");
  sub->callback([files, &command] { command = [files] { return run(*files); }; });
}

}  // namespace anchor::eval
