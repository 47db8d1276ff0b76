#include "recall/recall.hpp"

namespace anchor::recall {

void setup(CLI::App& app, Options& options) {
  app.footer(
      R"(anchor-recall dump.h5 --theta 12 --step 1
  | layer | head | density | mass_recall | mass_recall_min | output_recall_0.01 |
  |------:|-----:|--------:|------------:|----------------:|-------------------:|
  |    17 |    0 |  0.6137 |      0.9179 |          0.0665 |             0.6681 |
  |    17 |    1 |  0.5876 |      0.9830 |          0.4064 |             0.8906 |
  |    17 |    2 |  0.5724 |      0.9874 |          0.6451 |             0.8972 |
  
  | mean over heads | density | mass_recall | out_rel_l2 |    worst head |
  |----------------:|--------:|------------:|-----------:|--------------:|
  | anchor theta=12 |  0.5912 |      0.9628 |     0.1648 | 0.9179 (17:0) |
  
  mass_recall of anchor theta=12 (SmolLM2-135M-Instruct layer 17 heads 3-5)
   head   0     1     2
     17   .918  .983  .987
anchor-recall dump.h5 --method anchor,streaming --layers 0-3 -o rows.jsonl)");
  cli::add_dump(app, options.dump);
  cli::add_method(app, options.method, options.argv);
  app.add_option("--thresholds", options.thresholds, "One knob value per head, from anchor-sweep")
      ->type_name("FILE");
  app.add_option("--rows", options.rows,
                 "Query rows that recall, errors and peaks speak of: last, last:N or N-M, counted from 0 "
                 "(densities are the whole plan's)")
      ->type_name("ROWS");
  app.add_flag("--stats", options.stats,
               "Density by position, persistence and sharing of stripes, sink share, places of row maxima");
  app.add_flag("--heatmap", options.heatmap, "Layer x head heatmap in the terminal (default on one)");
  app.add_option("--svg", options.svg, "Layer x head heatmap as a picture: .svg, .png or .pdf")
      ->type_name("FILE");
  app.add_option("--metric", options.metric, "What heatmaps show")
      ->check(
          CLI::IsMember({"density", "work_density", "stripe_density", "mass_recall", "mass_recall_p05",
                         "mass_recall_min", "peak_recall_0.25", "peak_recall_0.0625", "output_recall_0.01",
                         "output_recall_0.005", "out_rel_l2", "out_max_abs", "out_mean_abs"}))
      ->type_name("FIELD")
      ->capture_default_str();
  app.add_option("--head-map", options.head_map,
                 "With --svg: one head's attention mass and what the plan keeps")
      ->type_name("LAYER:HEAD");
  app.add_option(
         "--pareto", options.pareto,
         "Instead of single knobs: every method's recall over density, and the density that mean recalls "
         "and output errors need, with one knob for all heads, one per head, or recall allocated; "
         "the picture is .svg, .png or .pdf")
      ->type_name("F.svg");
  app.add_option("--measure", options.measure,
                 "With --pareto: none = no plans of methods with exact curves are run, and no errors known")
      ->check(CLI::IsMember({"all", "none"}))
      ->capture_default_str()
      ->type_name("WHICH");
  app.add_option(
         "--context-parallel", options.context.layouts,
         "Instead of recall: the work of every rank, its imbalance, and the keys that travel when only "
         "listed keys do: ring, zigzag, striped")
      ->type_name("LAYOUTS");
  app.add_option("--ranks", options.context.ranks, "With --context-parallel: numbers of ranks")
      ->type_name("LIST")
      ->capture_default_str();
  cli::add_output(app, options.common);
  cli::add_device(app, options.common);
  cli::add_common(app, options.common);
}

}  // namespace anchor::recall
