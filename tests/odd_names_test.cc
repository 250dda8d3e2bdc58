// Goal: whatever bytes a name has, every command that prints paths prints it, as text and as JSON,
// and what it printed is taken back by every command that asks for a path.
// Method: the real binary, once as the daemon and once as the command, on a mounted volume with
// names that are not UTF-8, look like escapes, or would mislead a terminal.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fstream>
#include <set>
#include <sstream>

#include "plugin/path_text.h"
#include "tests/support/command_line_test.h"

namespace rw {
namespace {

using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::Not;
using testing::RunResult;
using Json = nlohmann::json;
namespace stdfs = std::filesystem;

// Name, and its text.
const std::vector<std::pair<std::string, std::string>> kNames = {
    {"caf\xe9", R"(caf\xe9)"},           {"\xff\xfe", R"(\xff\xfe)"},
    {"cut \xe2\x82", R"(cut \xe2\x82)"}, {R"(\xe9)", R"(\x5cxe9)"},
    {R"(back\slash)", R"(back\slash)"},  {"line\nfeed \x1b[31m", "line\nfeed \x1b[31m"},
    {"quote's \"", "quote's \""},
};

class OddNamesTest : public testing::CommandLineTest {
 protected:
  void SetUp() override {
    if (geteuid() != 0) GTEST_SKIP() << "mounts, needs root";
    Done({"create", "v"});
    Done({"mount", "v", MakeDirectory("volume")});
  }
  stdfs::path At(const std::string& path) const { return daemon_.directory() / "volume" / path; }
  void Write(const std::string& path, const std::string& text) const {
    std::ofstream(At(path), std::ios::binary) << text;
  }
  std::vector<Json> Lines(std::vector<std::string> arguments) const {
    arguments.push_back("--json");
    std::istringstream text(Rewind(arguments).out);
    std::vector<Json> lines;
    for (std::string line; std::getline(text, line);) lines.push_back(Json::parse(line));
    return lines;
  }
  // What lines say of a path.
  static std::multiset<std::string> PathsIn(const std::vector<Json>& lines) {
    std::multiset<std::string> paths;
    for (const Json& line : lines) paths.insert(line.at("path").get<std::string>());
    return paths;
  }
};

TEST_F(OddNamesTest, WhatIsPrintedIsTakenBack) {
  for (const auto& [name, text] : kNames) {
    stdfs::create_directory(At(name));
    Write(name + "/" + name, "one of " + text);
  }
  const std::string then = Now();
  for (const auto& [name, text] : kNames) Write(name + "/" + name, "two of " + text);
  const std::string later = Now();
  for (const auto& [name, text] : kNames) stdfs::remove_all(At(name));
  const auto log = PathsIn(Lines({"log", "v", "--since", then}));
  const auto changed = PathsIn(Lines({"diff", "v", then, later}));
  const auto removed = PathsIn(Lines({"diff", "v", then}));
  const auto found = PathsIn(Lines({"find", "v", "--deleted"}));
  for (const auto& [name, text] : kNames) {
    SCOPED_TRACE(text);
    const std::string path = "/" + text + "/" + text;
    EXPECT_THAT(log, Contains(path));
    EXPECT_THAT(changed, Contains(path));
    EXPECT_THAT(removed, Contains(path));
    EXPECT_THAT(found, Contains(path));
    // As text, as people see it, and as the bytes themselves.
    for (const std::string& asked : {path, Shown(path), "/" + name + "/" + name}) {
      if (asked == R"(/\xe9/\xe9)" && name == asked.substr(1, 4)) continue;  // means the byte
      EXPECT_EQ(Done({"cat", "v", asked, "--at", then}), "one of " + text);
      EXPECT_GE(Lines({"history", "v", asked}).size(), 2u);
      EXPECT_EQ(PathsIn(Lines({"diff", "v", then, later, asked})), std::multiset{path});
      EXPECT_EQ(DoneJson({"grep-time", "v", asked, "--contains", "two"})["changes"].size(), 2u);
      EXPECT_EQ(DoneJson({"restore", "v", asked, "--at", then, "--dry-run"})["paths"][0]["path"],
                "/" + text);
    }
    const Json restored = DoneJson({"restore", "v", path, "--at", then});
    EXPECT_EQ(restored["paths"][0]["path"], "/" + text);
    EXPECT_EQ(Read(At(name + "/" + name)), "one of " + text);
    EXPECT_EQ(Done({"cat", "v", path}), "one of " + text);
    Done({"restore", "v", path, "--at", later, "--to", "/to/" + text});
    EXPECT_EQ(Read(At("to/" + name + "/" + name)), "two of " + text);
    stdfs::remove_all(At("to"));
    Done({"undo", "v"});
  }
}

TEST_F(OddNamesTest, LinesForPeopleAreLines) {
  for (const auto& [name, text] : kNames) Write(name, "one");
  const std::string then = Now();
  for (const auto& [name, text] : kNames) stdfs::rename(At(name), At(name + "2"));
  const std::string later = Now();
  for (const auto& [name, text] : kNames) stdfs::remove(At(name + "2"));
  const auto expect_lines = [&](const std::string& text, size_t extra, const std::string& suffix) {
    EXPECT_EQ(std::count(text.begin(), text.end(), '\n'),
              static_cast<ptrdiff_t>(kNames.size() + extra))
        << text;
    EXPECT_THAT(text, Not(HasSubstr("\x1b")));
    for (const auto& [name, path] : kNames) EXPECT_THAT(text, HasSubstr(Shown(path) + suffix));
  };
  expect_lines(Done({"diff", "v", then, later}), 0, "2");
  expect_lines(Rewind({"find", "v", "--deleted"}).out, 1, "2");
  expect_lines(Done({"log", "v", "--since", then, "--until", later, "--path", "/*2"}), 0, "2");
  expect_lines(Done({"restore", "v", "/" + kNames[0].second, "/" + kNames[1].second,
                     "/" + kNames[2].second, "/" + kNames[3].second, "/" + kNames[4].second,
                     "/" + kNames[5].second, "/" + kNames[6].second, "--at", then, "--dry-run"}),
               1, " ");
  EXPECT_THAT(Rewind({"history", "v", "/" + kNames[0].second}).out,
              HasSubstr(R"(renamed to "/caf\xe92")"));
  EXPECT_THAT(Done({"diff", "v", then, later, "-p"}), Not(HasSubstr("\x1b")));
  EXPECT_THAT(Done({"log", "v", "--path", R"(*caf\xe9)", "--json"}), HasSubstr(R"(/caf\\xe9)"));
}

TEST_F(OddNamesTest, TargetsTextsAndDirectoriesOfTheHost) {
  symlink("to \xff", At("link").c_str());
  Write("bytes", "before \xff after");
  EXPECT_THAT(Done({"log", "v", "--path", "/link"}), HasSubstr(R"(symlink to to \xff)"));
  EXPECT_EQ(DoneJson({"grep-time", "v", "bytes", "--contains", "e \xff a"})["newest"]["contains"],
            true);
  EXPECT_EQ(DoneJson({"grep-time", "v", "bytes", "--contains", R"(\xff)"})["newest"]["contains"],
            false)
      << "a text is looked for as it is";
  const stdfs::path directory = MakeDirectory("host \xe9");
  Done({"mount", "v", directory});
  EXPECT_EQ(Read(directory / "bytes"), "before \xff after");
  EXPECT_THAT(Done({"inspect", "v"}), HasSubstr(R"(host \xe9)"));
  Done({"umount", directory});
}

TEST_F(OddNamesTest, ForgetTakesThem) {
  Write("secret \xe9", "what nobody may know");
  const std::string then = Now();
  stdfs::remove(At("secret \xe9"));
  EXPECT_THAT(Done({"forget", "v", R"(/secret \xe9)"}), HasSubstr(R"(forgot "/secret \xe9" of v)"));
  EXPECT_THAT(RefusedLine({"cat", "v", "secret \xe9", "--at", then}), HasSubstr("forgotten"));
}

}  // namespace
}  // namespace rw
