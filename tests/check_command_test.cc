// Goal: `rewind check` finds what is hurt, says which paths at which instants, repairs what it can,
// and is honest about the rest; while volumes are used, and on a data root that no daemon has open.
// Method: the real binary as daemon and as command; bits of its files flipped under it.
#include "plugin/check_command.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <functional>

#include "metadata/time_text.h"
#include "tests/support/command_line_test.h"

namespace rw {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using Json = nlohmann::json;
namespace stdfs = std::filesystem;

constexpr size_t kFileBytes = 20'000;

class CheckCommandTest : public testing::CommandLineTest {
 protected:
  // A volume with a directory and a file in it; it stays mounted.
  stdfs::path MakeVolume(const std::string& name, char fill) const {
    Done({"create", name});
    const stdfs::path directory = MakeDirectory("mounted " + name);
    Done({"mount", name, directory});
    stdfs::create_directory(directory / "dir");
    std::ofstream(directory / "dir/file") << std::string(kFileBytes, fill);
    return directory;
  }
  static void Zero(const stdfs::path& path, uint64_t position, size_t bytes) {
    std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(static_cast<std::streamoff>(position));
    file << std::string(bytes, '\0');
  }
  static void ExpectReadError(const stdfs::path& path, off_t at) {
    const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
    char byte = 0;
    EXPECT_EQ(pread(fd, &byte, 1, at), -1);
    EXPECT_EQ(errno, EIO);
    close(fd);
  }
  Json Check(std::vector<std::string> arguments, int exit_code) const {
    arguments.insert(arguments.begin(), "check");
    arguments.push_back("--json");
    const testing::RunResult result = Rewind(arguments);
    EXPECT_EQ(result.exit_code, exit_code) << result.out << result.err;
    EXPECT_THAT(result.err, IsEmpty());
    return Json::parse(result.out, nullptr, false);
  }
  // The segment that holds a run of this character, and where in it.
  std::pair<stdfs::path, uint64_t> FindData(char fill) const {
    for (const auto& entry : stdfs::recursive_directory_iterator(daemon_.root() / "journal")) {
      if (entry.path().extension() != ".seg") continue;
      const size_t at = Read(entry.path()).find(std::string(4096, fill));
      if (at != std::string::npos) return {entry.path(), at};
    }
    ADD_FAILURE() << "no data of " << fill;
    return {};
  }
  static void Flip(const stdfs::path& path, uint64_t position, uint64_t bytes = 1) {
    std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
    for (uint64_t i = position; i < position + bytes; ++i) {
      file.seekg(static_cast<std::streamoff>(i));
      const int byte = file.get();
      file.seekp(static_cast<std::streamoff>(i));
      file.put(static_cast<char>(byte ^ 4));
    }
  }
};

TEST_F(CheckCommandTest, FindsWhatIsHurtAndCorrectsAFlippedBit) {
  Done({"create", "other"});
  const stdfs::path mounted = MakeVolume("v", 'Q');
  std::string before = Done({"now", "v"});
  before.pop_back();
  std::ofstream(mounted / "dir/later") << std::string(kFileBytes, 'L');
  for (const auto& arguments : {std::vector<std::string>{}, {"v"}, {"v", "--at", before}}) {
    const Json report = Check(arguments, kCheckSound);
    EXPECT_TRUE(report["sound"]);
    EXPECT_TRUE(report["complete"]);
    EXPECT_GT(report["records"], 0);
    EXPECT_GT(report["extents"], 0);
  }
  EXPECT_THAT(Done({"check"}), HasSubstr("sound; checked"));

  const auto [segment, position] = FindData('L');
  Flip(segment, position + 5000);
  const Json hurt = Check({}, kCheckHurt)["hurt"];
  ASSERT_EQ(hurt.size(), 1U) << hurt;
  EXPECT_EQ(hurt[0]["kind"], "data");
  EXPECT_EQ(hurt[0]["volumes"], Json::array({"v"}));
  EXPECT_EQ(hurt[0]["path"], "/dir/later");
  EXPECT_GT(hurt[0]["from"].get<std::string>(), before);
  EXPECT_EQ(hurt[0]["until"], "now");
  EXPECT_THAT(hurt[0]["what"].get<std::string>(), HasSubstr(segment.string() + " at byte "));
  EXPECT_THAT(Rewind({"check", "v"}).out, HasSubstr("data: v: /dir/later bytes 0 to 20000 from "));
  // What has nothing to do with it is sound.
  Check({"other"}, kCheckSound);
  Check({"v", "--at", before}, kCheckSound);
  EXPECT_TRUE(Read(mounted / "dir/file") == std::string(kFileBytes, 'Q'));

  const Json repaired = Check({"v", "--repair"}, kCheckSound)["hurt"];
  ASSERT_EQ(repaired.size(), 1U) << repaired;
  EXPECT_TRUE(repaired[0]["repaired"]);
  Check({}, kCheckSound);
  EXPECT_TRUE(Read(mounted / "dir/later") == std::string(kFileBytes, 'L'));
}

TEST_F(CheckCommandTest, WhatCannotBeRepairedStaysAnErrorAndIsListed) {
  const stdfs::path mounted = MakeVolume("v", 'Q');
  Done({"umount", mounted});
  const auto [segment, position] = FindData('Q');
  Flip(segment, position + 100, 512);
  EXPECT_FALSE(Check({"v", "--repair"}, kCheckHurt)["sound"]);
  EXPECT_EQ(Check({"v"}, kCheckHurt)["hurt"][0]["path"], "/dir/file");
  Done({"mount", "v", mounted});
  ExpectReadError(mounted / "dir/file", 100);
  std::ofstream(mounted / "new") << "the volume can be written";
  EXPECT_EQ(Read(mounted / "new"), "the volume can be written");
  // Once it is overwritten, only the past is hurt.
  std::ofstream(mounted / "dir/file") << std::string(kFileBytes, 'N');
  EXPECT_NE(Check({"v"}, kCheckHurt)["hurt"][0]["until"], "now");
}

TEST_F(CheckCommandTest, ASegmentsHeaderIsWrittenAgain) {
  const stdfs::path mounted = MakeVolume("v", 'Q');
  Done({"umount", mounted});
  daemon_.Stop();
  const auto [segment, position] = FindData('Q');
  Flip(segment, 30);
  daemon_.Restart();
  EXPECT_EQ(Check({"v"}, kCheckHurt)["hurt"][0]["kind"], "segment");
  Check({"v", "--repair"}, kCheckSound);
  Check({"v"}, kCheckSound);
  Done({"mount", "v", mounted});
  EXPECT_TRUE(Read(mounted / "dir/file") == std::string(kFileBytes, 'Q'));
}

// What was collected is not missing, also if the daemon ended before the index knew.
TEST_F(CheckCommandTest, CollectedSegmentsAreNotMissing) {
  const stdfs::path mounted = MakeVolume("v", 'Q');
  Done({"set", "v", "retention=0", "keep=none"});
  for (int i = 0; i < 40; ++i) {
    std::ofstream(mounted / "dir/file") << std::string(kFileBytes, static_cast<char>('a' + i % 26));
    testing::Run({"sync", mounted / "dir/file"});
  }
  Done({"collect"});
  ASSERT_FALSE(stdfs::exists(daemon_.root() / "journal/1/0000000001.seg"));
  Check({}, kCheckSound);
  daemon_.Kill();
  testing::Run({"umount", "-l", mounted});
  daemon_.Restart();
  Check({}, kCheckSound);
}

// Nothing but the history of operations tells of a segment without data.
TEST_F(CheckCommandTest, AMissingSegmentIsFound) {
  const stdfs::path mounted = MakeVolume("v", 'Q');
  for (int i = 0; i < 4000; ++i) stdfs::create_directory(mounted / std::to_string(i));
  Done({"umount", mounted});
  Check({"v"}, kCheckSound);
  daemon_.Stop();
  const stdfs::path journal = daemon_.root() / "journal/1";
  ASSERT_TRUE(stdfs::exists(journal / "0000000003.seg"));
  ASSERT_NE(FindData('Q').first, journal / "0000000002.seg");
  stdfs::remove(journal / "0000000002.seg");
  daemon_.Restart();
  const Json hurt = Check({"v"}, kCheckHurt)["hurt"];
  ASSERT_EQ(hurt.size(), 1U) << hurt;
  EXPECT_EQ(hurt[0]["kind"], "segment");
  EXPECT_THAT(hurt[0]["what"].get<std::string>(),
              HasSubstr("missing segment: " + (journal / "0000000002.seg").string()));
}

// Their checksums say where in a segment data lie, and not in whose.
TEST_F(CheckCommandTest, ARepairTakesNoSegmentForAnother) {
  for (const char* name : {"v", "w"})
    Done({"umount", MakeVolume(name, name == std::string("v") ? 'V' : 'W')});
  daemon_.Stop();
  const stdfs::path first = FindData('V').first, second = FindData('W').first;
  const auto exchange = [&] {
    stdfs::rename(first, daemon_.directory() / "segment");
    stdfs::rename(second, first);
    stdfs::rename(daemon_.directory() / "segment", second);
  };
  exchange();
  daemon_.Restart();
  EXPECT_EQ(Check({"--repair"}, kCheckHurt)["hurt"][0]["repaired"], false);
  EXPECT_EQ(Check({"--repair"}, kCheckHurt)["hurt"][0]["kind"], "segment");
  daemon_.Stop();
  exchange();
  daemon_.Restart();
  Check({}, kCheckSound);
  for (const char* name : {"v", "w"}) {
    const stdfs::path mounted = MakeDirectory("mounted " + std::string(name));
    Done({"mount", name, mounted});
    EXPECT_TRUE(Read(mounted / "dir/file") ==
                std::string(kFileBytes, name == std::string("v") ? 'V' : 'W'));
  }
}

TEST_F(CheckCommandTest, AJournalThatDidNotRecoverIsRepaired) {
  MakeVolume("v", 'Q');
  const auto [segment, position] = FindData('Q');
  for (const uint64_t damaged : {uint64_t{30}, position + 5000}) {  // its header, data
    SCOPED_TRACE(damaged);
    const bool data = damaged > position;
    Done({"mark", "v", "m" + std::to_string(damaged)});  // which syncs what was written
    daemon_.Kill();
    Flip(segment, damaged);
    daemon_.Restart();
    const stdfs::path mounted = MakeDirectory("again " + std::to_string(damaged));
    EXPECT_EQ(Rewind({"mount", "v", mounted}).exit_code, data ? kExitDone : kExitRefused);
    if (data) {
      ExpectReadError(mounted / "dir/file", 5000);
      Done({"umount", mounted});
    }
    EXPECT_FALSE(Check({"v"}, kCheckHurt)["sound"]);
    EXPECT_TRUE(Check({"v", "--repair"}, kCheckSound)["hurt"][0]["repaired"]);
    Check({}, kCheckSound);
    Done({"mount", "v", mounted});
    EXPECT_TRUE(Read(mounted / "dir/file") == std::string(kFileBytes, 'Q'));
    std::ofstream(mounted / ("new" + std::to_string(damaged))) << "n";
  }
}

TEST_F(CheckCommandTest, AllVolumesAreThereWhenTheCatalogsJournalIsDamaged) {
  const auto expect_all = [&](const std::string& when) {
    SCOPED_TRACE(when);
    daemon_.Restart();
    EXPECT_THAT(Done({"ls"}), HasSubstr("other"));
    Check({}, kCheckSound);
    const stdfs::path mounted = MakeDirectory("mounted " + when);
    Done({"mount", "v", mounted});
    EXPECT_TRUE(Read(mounted / "dir/file") == std::string(kFileBytes, 'Q'));
    Done({"umount", mounted});
    daemon_.Stop();
  };
  Done({"create", "other"});
  Done({"umount", MakeVolume("v", 'Q')});
  const stdfs::path control = daemon_.root() / "journal/0/0000000001.seg";
  daemon_.Kill();  // what was done last is in the journal alone
  Flip(control, 30);
  expect_all("after a flipped bit in the header, not closed in order");
  Flip(control, 30);
  expect_all("after a flipped bit in the header");
  stdfs::resize_file(control, 64);
  expect_all("without records");
  stdfs::remove(control);
  expect_all("without a file");
  stdfs::remove_all(daemon_.root() / "index");
  expect_all("and then without an index");
  // Not closed in order, what was done last is in the journal and its copy alone.
  const std::vector<std::pair<std::string, std::function<void(const stdfs::path&)>>> damages = {
      {"without records", [](const auto& file) { stdfs::resize_file(file, 64); }},
      {"of zeros", [](const auto& file) { Zero(file, 0, 4096); }},
      {"without its last record", [](const auto& file) { Zero(file, 4096, 60 << 10); }},
      {"without a file", [](const auto& file) { stdfs::remove(file); }}};
  int made = 0;
  for (const bool index : {true, false}) {
    for (const auto& [how, damage] : damages) {
      const std::string name = "new-" + std::to_string(++made);
      daemon_.Restart();
      Done({"create", name, "-o", "size=1G"});
      stdfs::path last;
      for (const auto& entry : stdfs::directory_iterator(daemon_.root() / "journal/0"))
        if (entry.path().extension() == ".seg") last = std::max(last, entry.path());
      daemon_.Kill();
      damage(last);
      if (!index) stdfs::remove_all(daemon_.root() / "index");
      expect_all(how + " and not closed in order" + (index ? "" : ", and without an index"));
      daemon_.Restart();
      EXPECT_THAT(Done({"ls"}), HasSubstr(name));
      Done({"rm", name});
      daemon_.Stop();
    }
  }
  // A part of the copy is none: it would say that there is less than there is.
  const stdfs::path first = daemon_.root() / "catalog.copy/0000000001.seg";
  daemon_.Restart();
  for (int i = 0; i < 150; ++i)
    Done({"mark", "v", "mark-" + std::to_string(i), "--note", std::string(900, 'n')});
  Done({"create", "late"});
  ASSERT_TRUE(stdfs::exists(first.parent_path() / "0000000002.seg"));
  daemon_.Kill();
  stdfs::remove(first);
  for (const auto& entry : stdfs::directory_iterator(control.parent_path()))
    if (entry.path().extension() == ".seg") stdfs::resize_file(entry.path(), 64);
  EXPECT_THROW(daemon_.Restart(), std::runtime_error);
  EXPECT_TRUE(stdfs::exists(daemon_.root() / "journal/1/0000000001.seg"));
  // Without any of the three, nobody knows what there was, and nothing more is taken away.
  for (const char* lost : {"index", "journal/0", "catalog.copy"})
    stdfs::remove_all(daemon_.root() / lost);
  EXPECT_THROW(daemon_.Restart(), std::runtime_error);
  EXPECT_TRUE(stdfs::exists(daemon_.root() / "journal/1/0000000001.seg"));
}

TEST_F(CheckCommandTest, ADamagedIndexIsMadeAgainWhileTheVolumeIsUsed) {
  Done({"umount", MakeVolume("other", 'O')});
  Done({"umount", MakeVolume("v", 'Q')});
  daemon_.Stop();
  for (const auto& entry : stdfs::directory_iterator(daemon_.root() / "index")) {
    if (entry.path().extension() == ".sst") Flip(entry.path(), 40);
  }
  daemon_.Restart();
  for (const char* name : {"other", "v"})
    Done({"mount", name, MakeDirectory("mounted " + std::string(name))});
  const stdfs::path mounted = daemon_.directory() / "mounted v";
  Check({"--repair"}, kCheckSound);
  Check({}, kCheckSound);
  EXPECT_TRUE(Read(mounted / "dir/file") == std::string(kFileBytes, 'Q'));
  EXPECT_TRUE(Read(daemon_.directory() / "mounted other/dir/file") == std::string(kFileBytes, 'O'));
  std::ofstream(mounted / "new") << "n";
  size_t set_aside = 0;
  for (const auto& entry : stdfs::directory_iterator(daemon_.root()))
    set_aside += entry.path().filename().string().starts_with("index.damaged-") ? 1 : 0;
  EXPECT_GE(set_aside, 1U);
}

TEST_F(CheckCommandTest, WithoutADaemonTheDataRootIsChecked) {
  const stdfs::path mounted = MakeVolume("v", 'Q');
  Done({"umount", mounted});
  EXPECT_THAT(RefusedLine({"check", "--root", daemon_.root()}, kCheckFailed), HasSubstr("in use"));
  daemon_.Stop();
  EXPECT_THAT(RefusedLine({"check"}, kCheckFailed), HasSubstr("no daemon answers"));
  EXPECT_TRUE(Check({"--root", daemon_.root()}, kCheckSound)["sound"]);
  const auto [segment, position] = FindData('Q');
  Flip(segment, position + 5);
  EXPECT_EQ(Check({"v", "--root", daemon_.root()}, kCheckHurt)["hurt"][0]["path"], "/dir/file");
  Check({"--root", daemon_.root(), "--repair"}, kCheckSound);
  EXPECT_THAT(RefusedLine({"check", "--root", daemon_.directory() / "none"}, kCheckFailed),
              HasSubstr("no data root"));
  EXPECT_FALSE(stdfs::exists(daemon_.directory() / "none"));
}

TEST_F(CheckCommandTest, WhatMeansNothingIsRefused) {
  Done({"create", "v"});
  EXPECT_THAT(RefusedLine({"check", "none"}, kCheckFailed), HasSubstr("none"));
  EXPECT_THAT(RefusedLine({"check", "--at", "10m"}, kCheckFailed), HasSubstr("name the volume"));
  EXPECT_THAT(RefusedLine({"check", "v", "--at", "sometime"}, kCheckFailed), HasSubstr("sometime"));
  EXPECT_THAT(RefusedLine({"check", "v", "--rate", "fast"}, kCheckFailed), HasSubstr("fast"));
  EXPECT_EQ(Rewind({"check", "v", "--fast"}).exit_code, kExitUsage);
}

}  // namespace
}  // namespace rw
