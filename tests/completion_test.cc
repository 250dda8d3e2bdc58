// Goal: a shell is offered what a command line can go on with, and nothing else; at once and in
// silence, also without a daemon. No command, option or operand is left out.
// Method: the real binary as the daemon, and what the shells' scripts run, in this process or as
// they do; what the help lists is what has to be offered.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>
#include <regex>
#include <sstream>

#include "plugin/shell_words.h"
#include "tests/support/command_line_test.h"
#include "tests/support/process.h"
#include "tests/support/temp_dir.h"

namespace rw {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::Not;
using testing::RunResult;
using Words = std::vector<std::string>;

Words LinesOf(const std::string& text) {
  Words lines;
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);) lines.push_back(line);
  return lines;
}

// Everything in `text` that matches.
Words FindAll(const std::string& text, const std::regex& pattern) {
  Words found;
  for (std::sregex_iterator match(text.begin(), text.end(), pattern), end; match != end; ++match)
    found.push_back((*match)[1]);
  return found;
}

class CompletionTest : public testing::CommandLineTest {
 protected:
  void SetUp() override {
    setenv("REWIND_COMPLETION_SECONDS", "100", 1);  // however busy it is
    setenv("REWIND_SOCKET", daemon_.socket().c_str(), 1);
  }
  void TearDown() override {
    unsetenv("REWIND_COMPLETION_SECONDS");
    unsetenv("REWIND_SOCKET");
  }
  // In this process, of which there need not be hundreds.
  static std::string Here(Words arguments) {
    arguments.insert(arguments.begin(), "rewind");
    std::vector<char*> argv;
    for (std::string& each : arguments) argv.push_back(each.data());
    argv.push_back(nullptr);
    ::testing::internal::CaptureStdout();
    ::testing::internal::CaptureStderr();
    const int exit_code = RunCommandLine(static_cast<int>(arguments.size()), argv.data());
    EXPECT_EQ(::testing::internal::GetCapturedStderr(), "");
    EXPECT_EQ(exit_code, kExitDone);
    return ::testing::internal::GetCapturedStdout();
  }
  // The first line says what the others are.
  static Words Answer(Words words) {
    words.insert(words.begin(), {"complete", "words"});
    return LinesOf(Here(words));
  }
  // Without their meanings.
  static Words Complete(const Words& words) {
    Words candidates = Answer(words);
    EXPECT_EQ(candidates.at(0), "values");
    candidates.erase(candidates.begin());
    for (std::string& each : candidates) each.resize(each.find('\t'));
    return candidates;
  }
  Words CompleteLine(const std::string& line) const {
    return LinesOf(Done({"complete", "bash", line}));
  }
};

TEST_F(CompletionTest, EveryCommandOptionAndOperandIsKnown) {
  const Words commands = Complete({""});
  const std::string help = Here({"--help"});
  EXPECT_EQ(commands,
            FindAll(help.substr(help.find("Subcommands:")), std::regex("\n  ([a-z-]+) ")));
  for (const std::string& command : commands) {
    const std::string text = Here({command, "--help"});
    const Words options = FindAll(text, std::regex("\n  (?:-[a-z],)?(--[a-z-]+)"));
    EXPECT_EQ(Complete({command, "-"}), options);
    // Nothing may be said on standard error, where an operand that is not known is complained of.
    for (const std::string& option : options) Answer({command, option, ""});
    const size_t begin = text.find("Positionals:");
    const std::string positionals =
        begin == std::string::npos ? "" : text.substr(begin, text.find("\n\n", begin) - begin);
    Words typed = {command};
    for (const std::string& each : FindAll(positionals, std::regex("\n  ([A-Z])"))) {
      typed.emplace_back();
      Answer(typed);
      typed.back() = "x" + each;
    }
  }
}

TEST_F(CompletionTest, VolumesMarksAndOptionsOfTheDaemon) {
  Done({"create", "shop"});
  Done({"create", "shop-test", "-o", "clone-of=shop"});
  Done({"mark", "shop", "before-1"});
  Done({"mark", "shop", "before-2", "--note", "a note"});
  EXPECT_THAT(Complete({"log", ""}), ElementsAre("shop", "shop-test"));
  EXPECT_THAT(Complete({"log", "shop-"}), ElementsAre("shop-test"));
  EXPECT_THAT(Complete({"log", "x"}), IsEmpty());
  EXPECT_THAT(Complete({"log", "--json", "--since", "1h", "sh"}), ElementsAre("shop", "shop-test"));
  EXPECT_THAT(Complete({"rollback", "shop", ""}), ElementsAre("shop-test"));
  EXPECT_THAT(Complete({"create", ""}), Not(Contains("shop")));
  // Marks, the newest first.
  EXPECT_THAT(Complete({"unmark", "shop", ""}), ElementsAre("before-2", "before-1"));
  EXPECT_THAT(Complete({"rollback", "shop", "--at", ""}),
              ElementsAre("before-2", "before-1", "now"));
  EXPECT_THAT(Complete({"rollback", "shop", "--at=before-2"}), ElementsAre("--at=before-2"));
  EXPECT_THAT(Complete({"diff", "shop", "before-1", "b"}), ElementsAre("before-2", "before-1"));
  EXPECT_THAT(Complete({"rollback", "shop-test", "--at", ""}), ElementsAre("now"));
  // Options of volumes.
  EXPECT_THAT(Complete({"create", "v", "-o", "snap"}), ElementsAre("snapshot-of="));
  EXPECT_THAT(Complete({"create", "v", "-o", "clone-of="}),
              ElementsAre("clone-of=shop", "clone-of=shop-test"));
  EXPECT_THAT(Complete({"create", "v", "-o", "clone-of=shop", "-o", "at=before"}),
              ElementsAre("at=before-2", "at=before-1"));
  EXPECT_THAT(Complete({"create", "v", "-o", "uid=1", "-o", "uid"}), IsEmpty());
  // A mark's meaning is in its line.
  const Words marks = Answer({"unmark", "shop", "before-2"});
  ASSERT_EQ(marks.size(), 2u);
  EXPECT_TRUE(marks[1].ends_with("Z a note")) << marks[1];
}

TEST_F(CompletionTest, RemovedVolumesWhereTheyCanBeNamed) {
  Done({"create", "gone"});
  Done({"rm", "gone"});
  EXPECT_THAT(Complete({"log", ""}), IsEmpty());
  EXPECT_THAT(Complete({"purge", ""}), ElementsAre("gone"));
  EXPECT_THAT(Complete({"create", "v", "-o", "clone-of=g"}), ElementsAre("clone-of=gone"));
}

TEST_F(CompletionTest, WhatIsOfferedForSetIsAccepted) {
  Done({"create", "v"});
  const Words keys = Complete({"set", "v", ""});
  EXPECT_GE(keys.size(), 7u);
  for (const std::string& key : keys) {
    EXPECT_TRUE(key.ends_with("=")) << key;
    Done({"set", "v", key == "size=" ? "size=none" : key});
  }
  for (const std::string& key : Complete({"retention", "v", ""}))
    Done({"retention", "v", key, "--dry-run"});
}

TEST_F(CompletionTest, FilesAndWordsThatAreNotTheDaemons) {
  EXPECT_THAT(Answer({"mount", "v", ""}), ElementsAre("directories"));
  EXPECT_THAT(Answer({"import", "v", "a"}), ElementsAre("files"));
  EXPECT_THAT(Answer({"export", "v", "-o", ""}), ElementsAre("files"));
  EXPECT_THAT(Complete({"log-level", ""}), ElementsAre("debug", "info", "warning", "error"));
  EXPECT_THAT(Complete({"collect", ""}), Contains("--json"));
  EXPECT_THAT(Complete({"collect", "--json", "--j"}), IsEmpty());
  EXPECT_THAT(Complete({"collect", "--", "--j"}), IsEmpty());
  EXPECT_THAT(Complete({"nonsense", ""}), IsEmpty());
  EXPECT_THAT(Complete({"completion", ""}), ElementsAre("bash", "zsh", "fish"));
}

TEST_F(CompletionTest, TheSocketIsTheOneThatWasTyped) {
  Done({"create", "shop"});
  const std::map<std::string, std::string> nowhere = {{"REWIND_SOCKET", "/nowhere"}};
  const auto complete = [&](Words words) {
    words.insert(words.begin(), {REWIND_BINARY, "complete", "words", "log"});
    return testing::Run(words, nowhere).out;
  };
  EXPECT_EQ(complete({""}), "values\n");
  EXPECT_EQ(complete({"--socket", daemon_.socket().string(), ""}), "values\nshop\tvolume\n");
  EXPECT_EQ(complete({"--socket=" + daemon_.socket().string(), "s"}), "values\nshop\tvolume\n");
}

TEST_F(CompletionTest, WordsAsBashTakesThem) {
  Done({"create", "a b"});
  Done({"create", "shop"});
  Done({"mark", "shop", "at:noon"});
  EXPECT_THAT(CompleteLine("rewind rm "), ElementsAre("values", R"(a\ b)", "shop"));
  EXPECT_THAT(CompleteLine(R"(rewind rm a\ )"), ElementsAre("values", R"(a\ b)"));
  EXPECT_THAT(CompleteLine("rewind rm 'a "), ElementsAre("values", "a b"));
  EXPECT_THAT(CompleteLine("rewind create v -o clone-of="),
              ElementsAre("values", R"(a\ b)", "shop"));
  EXPECT_THAT(CompleteLine("rewind create v -o \"clone-of=s"),
              ElementsAre("values", "clone-of=shop"));
  EXPECT_THAT(CompleteLine("rewind rollback shop --at at:n"), ElementsAre("values", "noon"));
  EXPECT_THAT(CompleteLine("rewind col"), ElementsAre("values", "collect"));
}

TEST(ShellWordsTest, AreTheShells) {
  EXPECT_THAT(SplitShellLine("").words, ElementsAre(""));
  EXPECT_THAT(SplitShellLine("a  b").words, ElementsAre("a", "b"));
  EXPECT_THAT(SplitShellLine("a b ").words, ElementsAre("a", "b", ""));
  EXPECT_THAT(SplitShellLine(R"(a\ b "c d"'e f'g "h\"i\j")").words,
              ElementsAre("a b", "c de fg", R"(h"i\j)"));
  EXPECT_THAT(SplitShellLine("'' x").words, ElementsAre("", "x"));
  EXPECT_EQ(SplitShellLine("a 'b c").open_quote, '\'');
  EXPECT_EQ(SplitShellLine("a --at=x:y").kept, std::strlen("--at=x:"));
  EXPECT_EQ(SplitShellLine("a k='x").kept, std::strlen("k="));
  EXPECT_EQ(CompletedWord(SplitShellLine("a "), "~x$y"), R"(\~x\$y)");
  // Names may be anything, and nothing of them is to be run.
  EXPECT_EQ(CompletedWord(SplitShellLine("a \""), R"(x"$(id)`id`\'!)"),
            R"(x\"\$(id)\`id\`\\'"\!")");
  EXPECT_EQ(CompletedWord(SplitShellLine("a '"), R"(x"$(id)`id`\'!)"), R"(x"$(id)`id`\'\''!)");
}

// Without a daemon, or with one that does not answer, nothing is said.
TEST(CompletionWithoutDaemonTest, IsSilent) {
  const testing::TempDir directory;
  const std::string path = (directory.path() / "socket").string();
  const auto complete = [&] {
    return testing::Run({REWIND_BINARY, "complete", "words", "log", "--socket", path, ""});
  };
  const auto expect_silence = [&](const std::string& expected) {
    const RunResult result = complete();
    EXPECT_EQ(result.exit_code, 0);
    EXPECT_EQ(result.out, expected);
    EXPECT_THAT(result.err, IsEmpty());
  };
  expect_silence("values\n");
  // One that listens and never answers.
  const int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  ASSERT_LT(path.size(), sizeof address.sun_path);
  std::strcpy(address.sun_path, path.c_str());  // NOLINT(clang-analyzer-security.*)
  ASSERT_EQ(bind(listener, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  ASSERT_EQ(listen(listener, 0), 0);
  const RunResult result = complete();
  EXPECT_EQ(result.exit_code, 0);
  EXPECT_TRUE(result.out == "values\n" || result.out.empty()) << result.out;
  EXPECT_THAT(result.err, IsEmpty());
  close(listener);
}

}  // namespace
}  // namespace rw
