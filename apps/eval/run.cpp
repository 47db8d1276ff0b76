#include "eval/run.hpp"

#include <algorithm>
#include <bit>
#include <filesystem>
#include <map>
#include <optional>

#include "anchor/base/error.hpp"
#include "anchor/base/lists.hpp"
#include "anchor/base/number.hpp"
#include "anchor/base/parallel.hpp"
#include "anchor/eval/fidelity.hpp"
#include "anchor/eval/logits_file.hpp"
#include "anchor/eval/prefill.hpp"
#include "anchor/model/device_model.hpp"
#include "anchor/model/model_files.hpp"
#include "anchor/report/output_file.hpp"
#include "anchor/rows/shard.hpp"
#include "anchor/tuning/thresholds.hpp"
#include "cli/method_options.hpp"
#include "cli/progress.hpp"
#include "cli/run_shell.hpp"
#include "cli/threshold_options.hpp"
#include "eval/match.hpp"

namespace anchor::eval {
namespace {

struct Options {
  std::string model, tasks, thresholds, rope_scaling, dense_layers, decode = "dense", shard, logits;
  std::string weights = "auto";
  MatchOptions match;
  cli::MethodOptions method;
  cli::CommonOptions common;
  std::vector<std::string> argv;
};

/// All tasks of one file, each read once with dense attention and once per run.
class EvalRun {
 public:
  explicit EvalRun(const Options& options)
      : options_(options),
        files_(options.model),
        model_(files_.model()),
        runner_(make_runner(model_, options.common.device, parse_weight_memory(options.weights))),
        tokenizer_(files_.tokenizer()),
        tasks_(read_tasks(options.tasks)) {
    if (options.thresholds.empty()) {
      runs_ = cli::resolve_methods(options.method);
    } else {
      thresholds_ = read_thresholds(options.thresholds);
      runs_ = {cli::thresholds_run(*thresholds_, options.thresholds, options.method)};
    }
    target_ = match_target(options.match, thresholds_.has_value());
    if (!target_ && thresholds_) target_ = thresholds_->target;
    if (!options.logits.empty() && !std::filesystem::is_directory(options.logits))
      fail_usage("--logits {}: this folder is not there", options.logits);
    if (!options.shard.empty()) shard_ = parse_shard(options.shard, "--shard");
    if (!options.dense_layers.empty()) {
      for (const std::int64_t layer :
           parse_integers(options.dense_layers, "--dense-layers", 0, model_.config().layers - 1))
        prefill_.dense_layers.insert(static_cast<int>(layer));
    }
    prefill_.dense_decode = options.decode == "dense";
    if (!options.rope_scaling.empty()) prefill_.rope_scaling = parse_rope_scaling(options.rope_scaling);
    if (thresholds_) {
      choose_ = cli::choose_heads(*thresholds_, options.thresholds, *runs_[0].method, model_.config(),
                                  prefill_.dense_layers);
      cli::note_other_model(*thresholds_, options.thresholds, options.model, files_.name(), options.common);
    }
    for (const MethodRun& run : runs_) {
      names_.push_back(run_title(run, thresholds_.has_value()));
      asked_.push_back({run.params, choose_});
    }
    results_.resize(runs_.size());
    content_ = {option_hash(files_.hash()), option_hash(prefill_.dense_decode ? "dense" : "plan"),
                option_hash(options.dense_layers), option_hash(options.rope_scaling)};
    if (thresholds_) content_.push_back(option_hash(thresholds_text(*thresholds_)));
  }

  int run();

 private:
  using Place = std::pair<std::string, std::int64_t>;  // kind and length

  bool matches() const { return !options_.match.target.empty(); }
  void match();
  MatchedRun matched(const MethodRun& run);
  ShardStamp stamp_of(std::size_t task) const;
  std::string whole_request() const;
  ResultRow template_of(std::size_t run) const;
  ResultRow task_row(std::size_t run, const Task& task) const;
  void answer(const Task& task);
  void keep_logits(const Task& task, const std::string& name, const Logits& logits) const;
  void summaries(std::size_t run);
  ResultRow summary(std::size_t run, std::span<const std::size_t> chosen) const;

  struct Answered {
    Place place;
    EvalResult result;
    double density;
  };

  const Options& options_;
  ModelFiles files_;
  LanguageModel model_;
  std::unique_ptr<ModelRunner> runner_;
  Tokenizer tokenizer_;
  std::vector<Task> tasks_;
  std::vector<MethodRun> runs_;
  std::vector<std::string> names_;
  std::optional<Thresholds> thresholds_;
  MethodAttention::ChooseHeads choose_;  ///< with thresholds
  std::optional<Target> target_;         ///< what the knobs were found for
  std::vector<MatchedRun> asked_;        ///< per run: what its layers are asked for
  std::vector<std::string> unmatched_;   ///< per run: why it has no knob; empty with one
  std::optional<Shard> shard_;
  std::string request_;  ///< of all shards together
  PrefillOptions prefill_;
  std::vector<std::uint64_t> content_;
  std::vector<std::vector<Answered>> results_;  ///< per run
  std::optional<cli::RunShell> shell_;
};

/// The knobs of all runs, where they are to be found first.
void EvalRun::match() {
  unmatched_.resize(runs_.size());
  if (!matches()) return;
  for (std::size_t run = 0; run < runs_.size(); ++run) {
    check_interrupt();
    try {
      asked_[run] = matched(runs_[run]);
      options_.common.note(fmt::format("{}: {} {} at density {:.4f}", names_[run],
                                       thresholds_ ? "knobs moved by" : runs_[run].method->knob,
                                       format_number(asked_[run].value), asked_[run].density));
    } catch (const Error& error) {
      if (error.kind() != ErrorKind::data) throw;
      unmatched_[run] = error.what();
    }
  }
}

MatchedRun EvalRun::matched(const MethodRun& run) {
  if (target_->metric != "density") return match_error(run, *target_, options_.match, options_.common);
  std::vector<Question> questions;
  std::int64_t longest = 1;
  for (const std::size_t n : match_sample(tasks_.size(), options_.match.questions)) {
    questions.push_back(make_question(tokenizer_, tasks_[n]));
    longest = std::max(longest, static_cast<std::int64_t>(questions.back().ids.size()));
  }
  return match_density(run, choose_, longest, target_->value, [&](const Params& params, const auto& choose) {
    double density = 0;
    for (const Question& question : questions) {
      MethodAttention attention(*run.method, params, choose);
      density += read_sparse(*runner_, question, attention, prefill_).density;
    }
    return density / static_cast<double>(questions.size());
  });
}

/// The same in all shards of a run, and in no other run.
std::string EvalRun::whole_request() const {
  std::string units;
  for (const Task& task : tasks_)
    for (std::size_t run = 0; run < runs_.size(); ++run) units += task_row(run, task).unit;
  return fmt::format("{:016x}", option_hash(units));
}

/// Where a task's rows stand among those of all shards.
ShardStamp EvalRun::stamp_of(std::size_t task) const {
  return {.shard = *shard_,
          .piece = static_cast<std::int64_t>(task),
          .pieces = std::ssize(tasks_),
          .part = 0,
          .parts = 0,
          .request = request_};
}

ResultRow EvalRun::template_of(std::size_t run) const {
  ResultRow row;
  row.kind = "eval";
  row.scope = "all";
  row.model = files_.name();
  row.method = runs_[run].method->name;
  for (const auto& [name, value] : runs_[run].params.values())
    if ((!thresholds_ && !matches()) || name != runs_[run].method->knob) row.params[name] = value;
  row.target = target_;
  if (matches()) row.value = asked_[run].value;
  row.device = runner_->device();
  row.path = runner_->path();
  row.argv = options_.argv;
  return row;
}

ResultRow EvalRun::task_row(std::size_t run, const Task& task) const {
  ResultRow row = template_of(run);
  row.scope = "task";
  std::vector<std::uint64_t> content = content_;
  if (row.value) content.push_back(std::bit_cast<std::uint64_t>(*row.value));
  content.push_back(option_hash(task_line(task)));
  row.unit = unit_id(row, content);
  return row;
}

/// --logits: one file of numpy's for every reading.
void EvalRun::keep_logits(const Task& task, const std::string& name, const Logits& logits) const {
  if (options_.logits.empty()) return;
  write_text_file(fmt::format("{}/{}.{}.npy", options_.logits, task.id, name), npy_bytes(logits));
}

void EvalRun::answer(const Task& task) {
  std::vector<ResultRow> rows;
  for (std::size_t run = 0; run < runs_.size(); ++run) rows.push_back(task_row(run, task));
  if (shard_) stamp_shard(rows, stamp_of(static_cast<std::size_t>(&task - tasks_.data())));
  if (!shell_->all_finished(rows)) {
    const Question question = make_question(tokenizer_, task);
    std::vector<int> tokens;
    for (const auto* positions : {&question.answer, &question.inner})
      for (const std::int64_t position : *positions)
        tokens.push_back(question.ids[static_cast<std::size_t>(position)]);
    const auto joined = [](Reading reading) {
      reading.answer.values.insert(reading.answer.values.end(), reading.inner.values.begin(),
                                   reading.inner.values.end());
      return reading.answer;
    };
    const Logits dense = joined(read_dense(*runner_, question, prefill_));
    const AnswerScore dense_score = score_answer(dense, dense, tokens);
    keep_logits(task, "dense", dense);
    for (std::size_t run = 0; run < runs_.size(); ++run) {
      if (shell_->finished(rows[run].unit) != nullptr) continue;
      if (!unmatched_[run].empty()) {
        rows[run].fail(unmatched_[run]);
        continue;
      }
      MethodAttention attention(*runs_[run].method, asked_[run].params, asked_[run].choose);
      try {
        const Reading reading = read_sparse(*runner_, question, attention, prefill_);
        const Logits logits = joined(reading);
        keep_logits(task, std::to_string(run), logits);
        EvalResult result = answer_result(score_answer(logits, dense, tokens), dense_score);
        result.task = task.id;
        result.task_kind = task.kind;
        result.task_length = static_cast<int>(task.length);
        result.task_depth = task.depth;
        result.evidence_kept = reading.evidence_kept;
        if (reading.evidence_kept) rows[run].extra["evidence_by_head"] = reading.evidence_by_head.text();
        result.attention_ms = reading.attention_ms;
        rows[run].eval = std::move(result);
        rows[run].density = reading.density;
      } catch (const Error& error) {
        if (error.kind() == ErrorKind::interrupted) throw;
        rows[run].fail(fmt::format("{}: {}", task.id, error.what()));
      }
    }
  }
  for (std::size_t run = 0; run < runs_.size(); ++run) {
    const ResultRow shown = shell_->emit_result(rows[run], cli::Audience::files);
    if (shown.ok() && shown.eval)
      results_[run].push_back({{task.kind, task.length}, *shown.eval, shown.density.value_or(1)});
  }
}

ResultRow EvalRun::summary(std::size_t run, std::span<const std::size_t> chosen) const {
  std::vector<EvalResult> results;
  double density = 0;
  for (const std::size_t n : chosen) {
    results.push_back(results_[run][n].result);
    density += results_[run][n].density;
  }
  ResultRow row = template_of(run);
  row.eval = fidelity(results);
  if (!chosen.empty()) row.density = density / static_cast<double>(chosen.size());
  return row;
}

/// A row per kind and length, and one of all that the model answers: where dense attention gets less than 80
/// % right, flips say little about a method.
void EvalRun::summaries(std::size_t run) {
  std::map<Place, std::vector<std::size_t>> places;
  for (std::size_t n = 0; n < results_[run].size(); ++n) places[results_[run][n].place].push_back(n);
  std::vector<std::uint64_t> asked = content_;
  if (matches()) asked.push_back(std::bit_cast<std::uint64_t>(asked_[run].value));
  for (const Task& task : tasks_) asked.push_back(option_hash(task_line(task)));
  std::vector<std::size_t> counted;
  for (const auto& [place, chosen] : places) {
    ResultRow row = summary(run, chosen);
    row.scope = "kind";
    row.eval->task_kind = place.first;
    row.eval->task_length = static_cast<int>(place.second);
    const bool counts = row.eval->dense_accuracy >= least_dense_accuracy;
    row.extra["counted"] = counts ? 1. : 0.;
    if (counts) counted.insert(counted.end(), chosen.begin(), chosen.end());
    std::vector<std::uint64_t> content = asked;
    content.insert(content.end(), {option_hash(place.first), static_cast<std::uint64_t>(place.second)});
    row.unit = unit_id(row, content);
    shell_->emit(row);
  }
  if (counted.empty()) {
    options_.common.note(
        fmt::format("{}: dense attention gets less than 80 % of every kind and length right, so that the row "
                    "of all counts none",
                    names_[run]));
  }
  std::sort(counted.begin(), counted.end());
  ResultRow row = summary(run, counted);
  row.unit = unit_id(row, asked);
  shell_->emit(row);
}

int EvalRun::run() {
  const std::string& knob = runs_[0].method->knob;
  std::vector<Column> eye{{"task_kind", -1, "kind"}, {"task_length", -1, "tokens"}},
      all{{"scope"}, {"method"}, {"task"}, {"task_kind"}, {"task_length"}, {"task_depth"}};
  const bool one_method =
      std::ranges::all_of(runs_, [&](const MethodRun& run) { return run.method == runs_[0].method; });
  if (!one_method) eye.push_back({"method"});
  if (one_method && runs_.size() > 1) eye.push_back({"params." + knob, 3, knob});
  for (const char* count : {"n", "flips"})
    for (std::vector<Column>* columns : {&eye, &all}) columns->push_back({count});
  for (const char* name : {"density", "dense_accuracy", "accuracy", "kl_mean", "kl_p999", "kl_max",
                           "same_top", "evidence_kept", "attention_ms"}) {
    eye.push_back({name, 4});
    all.push_back({name});
  }
  shell_.emplace(options_.common, eye, all);
  cli::Progress progress("task", std::ssize(tasks_), options_.common.quiet);
  shell_->run([&] {
    match();
    if (shard_) request_ = whole_request();
    for (std::size_t n = 0; n < tasks_.size(); ++n) {
      if (shard_ && !shard_->takes(static_cast<std::int64_t>(n))) continue;
      check_interrupt();
      progress.update(static_cast<std::int64_t>(n), tasks_[n].id);
      answer(tasks_[n]);
    }
    // What speaks for all tasks follows when the shards are merged and --resume finishes them.
    for (std::size_t run = 0; run < runs_.size() && !shard_; ++run) summaries(run);
  });
  progress.clear();
  shell_->finish();
  return shell_->exit_code();
}

}  // namespace

void setup_run(CLI::App& app, cli::Command& command, const std::vector<std::string>& argv) {
  auto options = std::make_shared<Options>();
  options->argv = argv;
  CLI::App* sub = app.add_subcommand("run", "Answer tasks with dense attention and with methods");
  sub->footer(
      "anchor-eval run --model M.gguf --tasks tasks.jsonl --method anchor,xattention -o eval.jsonl\n"
      "anchor-eval run --model M.gguf --tasks tasks.jsonl --thresholds T.json -o eval.jsonl");
  sub->add_option("--model", options->model, "The model: a GGUF file or a Hugging Face folder")
      ->required()
      ->type_name("FILE");
  sub->add_option("--tasks", options->tasks, "Tasks, from anchor-eval tasks")->required()->type_name("FILE");
  cli::add_method(*sub, options->method, options->argv);
  sub->add_option("--thresholds", options->thresholds, "One knob value per head, from anchor-sweep")
      ->type_name("FILE")
      ->group("Method");
  sub->add_option("--dense-layers", options->dense_layers, "Layers that keep everything, such as 0 or 0-3")
      ->type_name("LIST")
      ->group("Method");
  sub->add_option("--decode", options->decode,
                  "The answer's own rows: dense, or in the plan as if they were part of the prompt")
      ->check(CLI::IsMember({"dense", "plan"}))
      ->capture_default_str()
      ->group("Method");
  sub->add_option(
         "--logits", options->logits,
         "Keep the answers' logits there, for numpy: TASK.dense.npy, TASK.0.npy for the first method")
      ->type_name("FOLDER");
  add_match(*sub, options->match);
  cli::add_shard(*sub, options->shard, "tasks");
  sub->add_option("--rope-scaling", options->rope_scaling,
                  "Read beyond the model's context: linear:F, dynamic:F or yarn:F, as in transformers");
  sub->add_option("--device", options->common.device,
                  "auto, cpu, cuda or cuda:N; a CUDA device computes in bf16, and times attention")
      ->type_name("DEVICE")
      ->capture_default_str()
      ->group("Machine");
  sub->add_option("--weights", options->weights,
                  "On a CUDA device: resident, stream (two layers at a time), or auto: as they fit")
      ->check(CLI::IsMember({"auto", "resident", "stream"}))
      ->capture_default_str()
      ->group("Machine");
  cli::add_output(*sub, options->common);
  cli::add_common(*sub, options->common);
  sub->callback([options, &command] {
    command = [options] {
      set_threads(options->common.threads);
      return EvalRun(*options).run();
    };
  });
}

}  // namespace anchor::eval
