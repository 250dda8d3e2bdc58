// Goal: what a volume was can be found from the command line: what a file held, what a path led to,
// what was removed, what differs, when a text came and went; and what cannot be answered is refused
// in one line.
// Method: the real binary, once as the daemon and once as the command, on a mounted volume.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <fstream>
#include <sstream>

#include "metadata/time_text.h"
#include "tests/support/command_line_test.h"

namespace rw {
namespace {

using ::testing::AllOf;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::RunResult;
using ::testing::StartsWith;
using Json = nlohmann::json;
namespace stdfs = std::filesystem;

class PastCommandsTest : public testing::CommandLineTest {
 protected:
  void SetUp() override {
    if (geteuid() != 0) GTEST_SKIP() << "mounts, needs root";
    Done({"create", "v"});
    Mount();
  }
  void Mount() { Done({"mount", "v", MakeDirectory("volume")}); }
  void Unmount() { Done({"umount", MakeDirectory("volume")}); }
  stdfs::path At(const std::string& path) const { return daemon_.directory() / "volume" / path; }

  void Write(const std::string& path, const std::string& text) const {
    std::ofstream(At(path), std::ios::binary) << text;
  }
  // Of commands that print an object a line.
  std::vector<Json> Lines(std::vector<std::string> arguments) const {
    arguments.push_back("--json");
    const RunResult result = Rewind(arguments);
    EXPECT_EQ(result.exit_code, kExitDone) << result.err;
    std::istringstream text(result.out);
    std::vector<Json> lines;
    for (std::string line; std::getline(text, line);) lines.push_back(Json::parse(line));
    return lines;
  }
  std::string What(const Json& line) const { return line.at("what").at(0); }
};

TEST_F(PastCommandsTest, CatPrintsAFileAsItWas) {
  // More than one page, and bytes of all kinds.
  std::string large(3'000'001, '\0');
  for (size_t i = 0; i < large.size(); ++i) large[i] = static_cast<char>(i * 2654435761u >> 13);
  Write("large", large);
  Write("empty", "");
  const std::string before = Now();
  Write("large", "small");
  stdfs::remove(At("empty"));
  EXPECT_EQ(Done({"cat", "v", "large", "--at", before}), large);
  EXPECT_EQ(Done({"cat", "v", "/large"}), "small");
  EXPECT_EQ(Done({"cat", "v", "//./empty", "--at", before}), "");
  Done({"mark", "v", "good", "--at", before});
  EXPECT_EQ(Done({"cat", "v", "large", "--at", "good"}), large);

  const stdfs::path file = daemon_.directory() / "out";
  std::ofstream(file) << "what was there";
  EXPECT_EQ(Done({"cat", "v", "large", "--at", before, "-o", file}), "");
  EXPECT_EQ(Read(file), large);
  EXPECT_EQ(Done({"cat", "v", "empty", "--at", before, "-o", file}), "");
  EXPECT_EQ(Read(file), "");
}

TEST_F(PastCommandsTest, CatFollowsSymlinksWithinTheVolumeOnly) {
  stdfs::create_directories(At("a/b"));
  Write("a/f", "inside");
  stdfs::create_symlink("../f", At("a/b/up"));
  stdfs::create_directory_symlink("b", At("a/dir"));
  stdfs::create_symlink("../../etc/passwd", At("a/out"));
  stdfs::create_symlink("/etc/passwd", At("absolute"));
  stdfs::create_symlink("loop", At("loop"));
  EXPECT_EQ(Done({"cat", "v", "a/b/up"}), "inside");
  EXPECT_EQ(Done({"cat", "v", "a/dir/up"}), "inside");
  EXPECT_THAT(RefusedLine({"cat", "v", "a/out"}), HasSubstr("out of the volume"));
  EXPECT_THAT(RefusedLine({"cat", "v", "absolute"}), HasSubstr("out of the volume"));
  EXPECT_THAT(RefusedLine({"cat", "v", "loop"}), HasSubstr("circle"));
  EXPECT_THAT(RefusedLine({"cat", "v", "a/../../x"}), HasSubstr("contains .."));
}

TEST_F(PastCommandsTest, WhatCannotBeReadIsRefusedAndLeavesNothing) {
  Write("f", "text");
  stdfs::create_directory(At("d"));
  mkfifo(At("pipe").c_str(), 0600);
  const stdfs::path file = daemon_.directory() / "out";
  std::ofstream(file) << "what was there";
  for (const char* path : {"d", "/", "pipe", "f/x", "nothing"}) {
    EXPECT_THAT(RefusedLine({"cat", "v", path, "-o", file}), HasSubstr(path)) << path;
    EXPECT_EQ(Read(file), "what was there") << path;
  }
  EXPECT_THAT(RefusedLine({"cat", "v", "f", "--at", "10d"}), HasSubstr("before the first instant"));
  EXPECT_THAT(RefusedLine({"cat", "v", "f", "--at", "soon"}), HasSubstr("soon"));
  EXPECT_THAT(RefusedLine({"cat", "v", "f", "-o", daemon_.directory() / "no/such/out"}),
              HasSubstr("cannot write"));
  EXPECT_THAT(RefusedLine({"cat", "nobody", "f"}), HasSubstr("nobody"));
  size_t left = 0;
  for (const auto& entry : stdfs::directory_iterator(daemon_.directory()))
    left += entry.path().filename().string().starts_with("out") ? 1 : 0;
  EXPECT_EQ(left, 1u);
}

TEST_F(PastCommandsTest, HistoryTellsWhatAPathLedTo) {
  Write("f", "one");
  Write("f", "three");
  chmod(At("f").c_str(), 0600);
  stdfs::create_directory(At("d"));
  stdfs::rename(At("f"), At("d/g"));
  stdfs::rename(At("d"), At("e"));
  stdfs::remove(At("e/g"));
  const std::vector<Json> f = Lines({"history", "v", "f"});
  ASSERT_EQ(f.size(), 6u);
  EXPECT_EQ(What(f[0]), "renamed");
  EXPECT_EQ(f[0]["renamed_to"], "/d/g");
  EXPECT_EQ(f[0]["present"], false);
  EXPECT_EQ(What(f[1]), "mode 0644 -> 0600");
  EXPECT_EQ(What(f[2]), "written");
  EXPECT_EQ(f[2]["size"], 5);
  EXPECT_EQ(What(f[3]), "truncated 3 -> 0");
  EXPECT_EQ(What(f[4]), "written");
  EXPECT_EQ(What(f[5]), "created");
  EXPECT_EQ(Done({"cat", "v", "f", "--at", f[4]["read_at"]}), "one");
  EXPECT_EQ(Done({"cat", "v", "f", "--at", f[1]["last"]}), "three");
  const std::vector<Json> g = Lines({"history", "v", "d/g"});
  ASSERT_EQ(g.size(), 2u);
  EXPECT_EQ(What(g[0]), "a directory above it was renamed");
  EXPECT_EQ(g[1]["renamed_from"], "/f");
  EXPECT_EQ(What(Lines({"history", "v", "e/g"}).at(0)), "removed");
  EXPECT_EQ(Lines({"history", "v", "/"}).at(0)["type"], "directory");
  EXPECT_THAT(Done({"history", "v", "d/g"}),
              AllOf(StartsWith("AT "), HasSubstr("renamed from \"/f\"")));

  const std::string since = f[2]["at"], until = f[4]["at"];
  EXPECT_EQ(Lines({"history", "v", "f", "--since", since}).size(), 3u);
  EXPECT_EQ(Lines({"history", "v", "f", "--until", until}).size(), 2u);
  EXPECT_EQ(Lines({"history", "v", "f", "--limit", "2"}).size(), 2u);
  EXPECT_THAT(Rewind({"history", "v", "f", "--limit", "2"}).err, HasSubstr("--until "));
  EXPECT_THAT(RefusedLine({"history", "v", "ff"}), AllOf(HasSubstr("was never in v")));
  Write("there", "");
  EXPECT_THAT(RefusedLine({"history", "v", "thee"}), HasSubstr("there is \"/there\""));
}

TEST_F(PastCommandsTest, ManyWritesAreOneLine) {
  {
    std::ofstream file(At("log"));
    for (int i = 0; i < 1000; ++i) file << i << std::endl;
  }
  const std::vector<Json> grouped = Lines({"history", "v", "log"});
  uint64_t told = 0;
  for (const Json& line : grouped) told += line["count"].get<uint64_t>();
  EXPECT_EQ(told, 1001u);
  EXPECT_LT(grouped.size(), 1001u);
  EXPECT_EQ(Lines({"history", "v", "log", "--each", "--limit", "0"}).size(), 1001u);
}

TEST_F(PastCommandsTest, FindListsWhatWasRemovedAndHowToReadIt) {
  stdfs::create_directories(At("d/e"));
  Write("d/e/it's here", "lost");
  Write("kept", "");
  Write("moved", "");
  const std::string before = Now();
  stdfs::rename(At("moved"), At("elsewhere"));
  stdfs::remove_all(At("d"));
  const std::vector<Json> found = Lines({"find", "v", "--deleted"});
  ASSERT_EQ(found.size(), 3u);
  EXPECT_EQ(found[0]["path"], "/d") << "the last removed first";
  EXPECT_EQ(found[2]["path"], "/d/e/it's here");
  EXPECT_EQ(Done({"cat", "v", found[2]["path"], "--at", found[2]["last"]}), "lost");
  EXPECT_THAT(RefusedLine({"cat", "v", found[2]["path"], "--at", found[2]["gone"]}),
              HasSubstr("no such file"));
  EXPECT_EQ(Lines({"find", "v", "--deleted", "--since", before}).size(), 3u);
  EXPECT_THAT(Lines({"find", "v", "--deleted", "--since", Now()}), IsEmpty());
  const RunResult shown = Rewind({"find", "v", "--deleted"});
  EXPECT_THAT(shown.out, HasSubstr("/d/e/it's here"));
  EXPECT_THAT(shown.err, HasSubstr("rewind cat v '/d/e/it'\\''s here' --at "));
  // A rollback brings it back, and takes away what was made since.
  Unmount();
  Done({"create", "undo", "-o", "rollback=v", "-o", "at=" + before});
  const std::vector<Json> after = Lines({"find", "v", "--deleted"});
  ASSERT_EQ(after.size(), 0u) << after[0].dump();
}

TEST_F(PastCommandsTest, DiffTellsWhatChangedBetweenTwoTimes) {
  std::string lines;
  for (int i = 1; i <= 20; ++i) lines += std::to_string(i) + "\n";
  Write("text", lines);
  stdfs::create_directory(At("d"));
  Write("d/f", "one\n");
  Write("gone", "x");
  const std::string from = Now();
  std::ofstream(At("text"), std::ios::in | std::ios::out).seekp(0) << "I\n";
  stdfs::rename(At("d"), At("e"));
  std::ofstream(At("e/f"), std::ios::app) << "two\n";
  stdfs::remove(At("gone"));
  Write("new", std::string("\0\1", 2));
  const std::string to = Now();
  Write("later", "");
  EXPECT_EQ(Done({"diff", "v", from, to}),
            "R  /d -> /e/\n"
            "M  /d/f -> /e/f  (contents)\n"
            "D  /gone\n"
            "A  /new\n"
            "M  /text  (contents)\n");
  EXPECT_EQ(Done({"diff", "v", to, from}),
            "R  /e -> /d/\n"
            "M  /e/f -> /d/f  (contents)\n"
            "A  /gone\n"
            "D  /new\n"
            "M  /text  (contents)\n");
  EXPECT_EQ(Done({"diff", "v", to}), "A  /later\n");
  EXPECT_EQ(Done({"diff", "v", to, to}), "nothing differs\n");
  EXPECT_EQ(Done({"diff", "v", from, to, "/text"}), "M  /text  (contents)\n");
  EXPECT_EQ(Done({"diff", "v", from, to, "/text", "-p"}),
            "M  /text  (contents)\n"
            "--- a/text\t" +
                from + "\n+++ b/text\t" + to + "\n@@ -1,4 +1,4 @@\n-1\n+I\n 2\n 3\n 4\n");
  EXPECT_THAT(Done({"diff", "v", from, to, "-p"}),
              AllOf(HasSubstr("binary files at \"/new\" differ"),
                    HasSubstr("@@ -1 +1,2 @@\n one\n+two\n"), HasSubstr("+++ /dev/null\n")));
  EXPECT_EQ(Lines({"diff", "v", from, to}).at(1)["old_path"], "/d/f");
  EXPECT_THAT(RefusedLine({"diff", "v", "10d"}), HasSubstr("before the first instant"));
  EXPECT_THAT(RefusedLine({"diff", "v", from, "nothing"}), HasSubstr("nothing"));
  // Across a rollback: what it took away, and what it brought back.
  Unmount();
  Done({"create", "undo", "-o", "rollback=v", "-o", "at=" + from});
  EXPECT_EQ(Done({"diff", "v", from}), "nothing differs\n");
  EXPECT_THAT(Done({"diff", "v", to}),
              AllOf(HasSubstr("R  /e -> /d/\n"), HasSubstr("A  /gone\n"), HasSubstr("D  /new\n")));
}

// Who looks at a difference does not have the terminal do what a container wrote.
TEST_F(PastCommandsTest, ContentsDoNotCommandATerminal) {
  Write("text", "one\n");
  const std::string from = Now();
  Write("text", "\x1b]0;title\a\ttwo \u00e9\n");
  const std::vector<std::string> diff = {"diff", "v", from, "-p"};
  EXPECT_THAT(Done(diff), HasSubstr("\n+\x1b]0;title\a\ttwo \u00e9\n"));
  std::vector<std::string> command = diff;
  command.insert(command.begin(), REWIND_BINARY);
  command.insert(command.end(), {"--socket", daemon_.socket()});
  const testing::RunResult seen = testing::RunOnTerminal(command, 100);
  EXPECT_EQ(seen.exit_code, kExitDone);
  EXPECT_THAT(seen.out, HasSubstr("\n+\\x1b]0;title\\x07\ttwo \u00e9\r\n"));
}

TEST_F(PastCommandsTest, DiffFindsAFileWhoseNameHasComeAndGone) {
  for (int i = 0; i < 40; ++i) {
    Write("often", "x");
    stdfs::remove(At("often"));
  }
  Write("often", "one");
  Write("after", "one");
  const std::string from = Now();
  Write("often", "two");
  Write("after", "two");
  const std::string to = Now();
  for (int i = 0; i < 40; ++i) {
    stdfs::remove(At("often"));
    Write("often", "y");
  }
  EXPECT_EQ(Done({"diff", "v", from, to}), "M  /after  (contents)\nM  /often  (contents)\n");
}

TEST_F(PastCommandsTest, APathThatIsNotThereThenIsToldWhenItWas) {
  const std::string before = Now();
  Write("here", "text");
  const std::string there = Now();
  stdfs::remove(At("here"));
  const std::string after = Now();
  EXPECT_THAT(RefusedLine({"cat", "v", "here"}), HasSubstr("it was there until "));
  EXPECT_THAT(RefusedLine({"cat", "v", "here", "--at", before}), HasSubstr("it was there from "));
  EXPECT_THAT(RefusedLine({"cat", "v", "hree", "--at", there}), HasSubstr("no such file"));
  Write("another", "");
  EXPECT_THAT(RefusedLine({"cat", "v", "anothr"}), HasSubstr("there is \"/another\""));
  EXPECT_EQ(Done({"diff", "v", before, there, "/here"}), "A  /here\n");
  EXPECT_THAT(RefusedLine({"diff", "v", before, after, "/here"}),
              HasSubstr("at neither time; it was there "));
  EXPECT_THAT(RefusedLine({"diff", "v", before, after, "/never"}), HasSubstr("was never in v"));
  EXPECT_THAT(RefusedLine({"grep-time", "v", "/never", "--contains", "x"}),
              HasSubstr("was never in v"));
  EXPECT_EQ(Done({"diff", "v", before, after}), "nothing differs\n");
}

TEST_F(PastCommandsTest, AMistypedMarkIsToldWhatItMayHaveBeen) {
  Write("f", "");
  Done({"mark", "v", "before-migration"});
  const std::string mistyped = "before-migratoin";
  for (const std::vector<std::string>& command : std::vector<std::vector<std::string>>{
           {"cat", "v", "f", "--at", mistyped},
           {"history", "v", "f", "--since", mistyped},
           {"find", "v", "--deleted", "--since", mistyped},
           {"diff", "v", mistyped},
           {"grep-time", "v", "f", "--contains", "x", "--until", mistyped},
           {"log", "v", "--since", mistyped},
           {"timeline", "v", "--since", mistyped},
           {"restore", "v", "f", "--at", mistyped},
           {"rollback", "v", "--at", mistyped},
           {"export", "v", "--at", mistyped},
           {"mount", "v", MakeDirectory("other"), "--at", mistyped},
           {"create", "w", "-o", "clone-of=v", "-o", "at=" + mistyped},
           {"check", "v", "--at", mistyped},
           {"mark", "v", "label", "--at", mistyped},
           {"unmark", "v", mistyped}}) {
    const int status = command[0] == "check" ? 2 : kExitRefused;
    EXPECT_THAT(RefusedLine(command, status), HasSubstr("similar marks are: \"before-migration\""))
        << command[0];
  }
}

TEST_F(PastCommandsTest, WhatIsReadOfPointsIsWhatTheyShow) {
  const auto write = [&](const std::string& text) {
    Write("f", text);
    return Now();
  };
  Done({"mark", "v", "first", "--at", write("first")});
  write("never seen");
  Write("short", "lived");
  Done({"mark", "v", "second", "--at", write("second")});
  stdfs::remove(At("short"));
  write("between");
  Done({"set", "v", "retention=0", "keep=none"});
  write("last");
  Done({"collect"});
  const std::vector<Json> f = Lines({"history", "v", "f", "--each"});
  ASSERT_EQ(f.size(), 3u);
  EXPECT_EQ(Done({"cat", "v", "f", "--at", f[1]["read_at"]}), "second");
  EXPECT_EQ(Done({"cat", "v", "f", "--at", f[2]["read_at"]}), "first");
  const std::vector<Json> found = Lines({"find", "v", "--deleted"});
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(Done({"cat", "v", "short", "--at", found[0]["last"]}), "lived");
  EXPECT_EQ(Done({"diff", "v", "first", "second"}),
            "M  /f  (contents)\n"
            "A  /short\n");
  EXPECT_EQ(Done({"diff", "v", "second"}),
            "M  /f  (contents)\n"
            "D  /short\n");
}

TEST_F(PastCommandsTest, GrepTimeFindsWhenATextCameAndWent) {
  Write("f", "the others\n");
  const auto append = [&](const std::string& text) {
    std::ofstream(At("f"), std::ios::app) << text;
    return Now();
  };
  const std::string before = append("and more\n");
  const std::string there = append("the needle\n");
  Write("f", "gone");
  const std::string gone = Now();
  append("needle again\n");
  stdfs::remove(At("f"));
  const Json found = DoneJson({"grep-time", "v", "f", "--contains", "needle"});
  EXPECT_EQ(found["exact"], true);
  const Json& changes = found["changes"];
  ASSERT_EQ(changes.size(), 4u) << found.dump();
  EXPECT_EQ(changes[0]["what"], "appeared");
  EXPECT_GT(changes[0]["at"], before);
  EXPECT_LT(changes[0]["at"], there);
  EXPECT_EQ(changes[1]["what"], "vanished");
  EXPECT_LT(changes[1]["at"], gone);
  EXPECT_EQ(changes[3]["present"], false);
  for (const Json& change : changes) {
    const bool after = change["what"] == "appeared";
    if (!change["present"]) continue;
    EXPECT_EQ(Done({"cat", "v", "f", "--at", change["at"]}).find("needle") != std::string::npos,
              after);
    EXPECT_EQ(Done({"cat", "v", "f", "--at", change["before"]}).find("needle") != std::string::npos,
              !after);
  }
  EXPECT_THAT(Done({"grep-time", "v", "f", "--contains", "needle"}),
              AllOf(HasSubstr("appeared"), HasSubstr("vanished with the file")));
  EXPECT_THAT(Done({"grep-time", "v", "f", "--contains", "never"}),
              StartsWith("the text is nowhere"));
  EXPECT_THAT(RefusedLine({"grep-time", "v", "/", "--contains", "x"}), HasSubstr("directory"));
}

TEST_F(PastCommandsTest, OfManyVersionsATurnIsFoundByBisection) {
  std::ofstream file(At("f"));
  for (int i = 0; i < 700; ++i) file << "line " << i << std::endl;
  const RunResult shown = Rewind({"grep-time", "v", "f", "--contains", "line 431\n"});
  EXPECT_THAT(shown.err, HasSubstr("bisected"));
  const Json found =
      Json::parse(Rewind({"grep-time", "v", "f", "--contains", "line 431\n", "--json"}).out);
  EXPECT_EQ(found["exact"], false);
  ASSERT_EQ(found["changes"].size(), 1u) << found.dump();
  EXPECT_THAT(Done({"cat", "v", "f", "--at", found["changes"][0]["at"]}), EndsWith("line 431\n"));
  EXPECT_THAT(Done({"cat", "v", "f", "--at", found["changes"][0]["before"]}),
              EndsWith("line 430\n"));
}

}  // namespace
}  // namespace rw
