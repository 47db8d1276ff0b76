// Numbers, lists and ranges as every flag takes them.
#include "anchor/base/lists.hpp"
#include "anchor/base/number.hpp"
#include "fuzz/support/memory_file.hpp"
#include "fuzz/support/outcome.hpp"

using namespace anchor;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text = test::text_of(data, size);
  if (const auto value = parse_number(text)) {
    const auto again = parse_number(format_number(*value));
    test::demand(again && *again == *value, "a number is read back from its text");
  }
  test::accepted([&] {
    for (const double value : parse_list(text, "--list"))
      test::demand(value == value, "a list holds numbers");
  });
  test::accepted([&] {
    for (const std::int64_t value : parse_integers(text, "--integers", -5, std::int64_t{1} << 40))
      test::demand(value >= -5 && value <= std::int64_t{1} << 40, "integers lie in their range");
  });
  return 0;
}
