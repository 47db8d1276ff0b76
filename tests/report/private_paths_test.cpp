#include "anchor/report/private_paths.hpp"

#include <doctest/doctest.h>

using namespace anchor;

TEST_CASE("a page names files, not places: absolute paths lose their folders, machines their names") {
  Json data{
      {"made",
       {{"argv",
         {"/opt/bin/anchor-report", "/home/jane/My Dumps/a.h5", "--html=/home/jane/r.html", "b/c.jsonl"}}}},
      {"sources",
       {{{"argv", {"anchor-recall", "~/x/d.h5,/data/e.h5"}},
         {"env", {{"host", "node17"}, {"cpu", "Xeon"}}}}}},
      {"runs",
       {{{"dump", "/home/jane/My Dumps/a.h5"},
         {"errors", {{"0:1", "/home/jane/My Dumps/a.h5: layer 0, q is NaN"}}},
         {"metrics", {{"density", "/w8AAAA="}}}}}},
      {"bench", {{{"dump", {{"path", "/mnt/z.h5"}}}, {"env", {{"host", "node17"}}}}}},
      {"views",
       {{{"path", "/home/jane/My Dumps/a.h5"},
         {"heads", {{{"layer", 0}, {"mass", "/w8AAAA="}, {"stripes", {{3, "/usr/bin"}}}}}}}}}};
  hide_places(data);
  const std::string text = data.dump();
  for (const char* gone : {"jane", "node17", "/opt", "/mnt", "~/", "/data"}) {
    CAPTURE(gone);
    CHECK(text.find(gone) == std::string::npos);
  }
  CHECK(data["made"]["argv"] == Json{"anchor-report", "a.h5", "--html=r.html", "b/c.jsonl"});
  CHECK(data["sources"][0]["argv"][1] == "d.h5,e.h5");
  CHECK(data["sources"][0]["env"]["cpu"] == "Xeon");
  CHECK(data["runs"][0]["dump"] == "a.h5");
  CHECK(data["runs"][0]["errors"]["0:1"] == "a.h5: layer 0, q is NaN");
  CHECK(data["runs"][0]["metrics"]["density"] == "/w8AAAA=");  // packed numbers are no path
  CHECK(data["views"][0]["heads"][0]["mass"] == "/w8AAAA=");
  CHECK(data["views"][0]["heads"][0]["stripes"][0][1] == "/usr/bin");  // a token of the text
}

TEST_CASE("files of one name in two folders stay apart") {
  Json data{{"runs", {{{"dump", "/a/one/d.h5"}}, {{"dump", "/a/two/d.h5"}}}}};
  hide_places(data);
  CHECK(data["runs"][0]["dump"] == "one/d.h5");
  CHECK(data["runs"][1]["dump"] == "two/d.h5");
}
