#include "sweep/cluster.hpp"

#include <fmt/format.h>

#include <memory>

#include "anchor/tuning/dump_clusters.hpp"
#include "cli/dump_stream.hpp"
#include "cli/number.hpp"
#include "cli/output.hpp"

namespace anchor::sweep {
namespace {

struct ClusterOptions {
  cli::CommonOptions common;
  cli::DumpOptions dump;
  double cut = 0.4;
  std::string out;
};

int run(const ClusterOptions& options) {
  const DumpReader reader = cli::open_dump(options.dump.path, options.dump);
  const std::vector<GroupSelection> groups = cli::select_groups(reader, options.dump);
  const DumpStream stream =
      cli::open_stream(options.common, check_memory(reader, groups, options.common.memory_limit()));
  OutputFile file(options.out);
  const DumpClusters clusters = cluster_dump(stream, reader, groups, options.cut);
  file.write(clusters_text(clusters));
  file.commit();
  options.common.note(fmt::format("{} of {} heads lie in {} clusters of two or more",
                                  clusters.sharing_heads(), clusters.heads.size(), clusters.shared().size()));
  return 0;
}

}  // namespace

void setup_cluster(CLI::App& app, cli::Command& command) {
  const auto options = std::make_shared<ClusterOptions>();
  CLI::App* cluster = app.add_subcommand(
      "cluster", "Group heads with alike attention, for anchor-recall --method shareprefill");
  cluster->footer(
      "anchor-sweep cluster D.h5 --out clusters.json\n"
      "anchor-sweep cluster D.h5 --layers 0-7 --cut 0.3 --out clusters.json");
  cli::add_dump(*cluster, options->dump);
  cluster
      ->add_option("--cut", options->cut,
                   "Clusters join up to this mean distance (0 = alike, 0.83 = nothing in common)")
      ->check(cli::real_number(0, 1))
      ->capture_default_str();
  cluster->add_option("-o,--out", options->out, "The clusters, JSON, for --set clusters=FILE")
      ->required()
      ->type_name("FILE");
  cli::add_device(*cluster, options->common);
  cli::add_common(*cluster, options->common);
  cluster->callback([options, &command] { command = [options] { return run(*options); }; });
}

}  // namespace anchor::sweep
