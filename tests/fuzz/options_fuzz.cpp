// Values of options that have a grammar of their own. The first byte says which.
#include <sstream>

#include "anchor/data/pattern.hpp"
#include "anchor/method/method.hpp"
#include "anchor/model/rope.hpp"
#include "anchor/rows/target.hpp"
#include "anchor/tuning/head_variant.hpp"
#include "fuzz/support/memory_file.hpp"
#include "fuzz/support/outcome.hpp"

using namespace anchor;

namespace {

/// "METHOD PARAMETER VALUE"
void set_one(const std::string& text) {
  std::istringstream in(text);
  std::string method, name, value;
  in >> method >> name >> value;
  const Method& of = find_method(method);
  Params params = default_params(of);
  set_param(of, params, name, value);
}

/// "METHOD NAME=A,B@COST"
void choose(const std::string& text) {
  const auto space = text.find(' ');
  MethodRun run;
  run.method = &find_method(text.substr(0, space));
  run.params = default_params(*run.method);
  const ParamChoice choice =
      parse_param_choice(space == std::string::npos ? "" : text.substr(space + 1), "--choose");
  if (choice.values.size() < 1000) head_variants(run, std::span(&choice, 1));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::string text(test::text_of(data + 1, size - 1));
  test::accepted([&] {
    switch (data[0]) {
      case 't': {
        const Target target = parse_target(text, "--target", {"mass_recall", "output_error"});
        test::demand(target.value > 0 && target.value < 1, "a target lies between 0 and 1");
        break;
      }
      case 'p':
        test::demand(!parse_pattern(text).of(7).text.empty(), "every head has a pattern");
        break;
      case 'r':
        test::demand(parse_rope_scaling(text).factor >= 1, "a factor is at least 1");
        break;
      case 'c':
        choose(text);
        break;
      default:
        set_one(text);
    }
  });
  return 0;
}
