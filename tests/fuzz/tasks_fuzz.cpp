// Questions with known answers (jsonl).
#include "anchor/eval/task.hpp"
#include "fuzz/support/memory_file.hpp"
#include "fuzz/support/outcome.hpp"

using namespace anchor;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const test::MemoryFile file;
  file.write(test::text_of(data, size));
  std::vector<Task> tasks;
  if (!test::accepted([&] { tasks = read_tasks(file.path()); })) return 0;
  std::string text;
  for (const Task& task : tasks) {
    test::demand(!task.parts().empty(), "an answer has a part");
    ruler_line(task, 0);
    text += task_line(task) + "\n";
  }
  file.write(text);
  std::string again;
  for (const Task& task : read_tasks(file.path())) again += task_line(task) + "\n";
  test::demand(again == text, "tasks are read back as they were written");
  return 0;
}
