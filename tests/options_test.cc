// Goal: options become exactly the request that they say, and whatever means nothing is refused in
// one line. Method: tables of good and bad option sets.
#include "plugin/options.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mount.h>

#include <cerrno>

#include "fs/session.h"
#include "metadata/refused.h"
#include "metadata/time_text.h"

namespace rw {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using Options = std::map<std::string, std::string>;

constexpr Instant kNow{1'795'369'860'500'000'000};

CreateRequest Parse(const std::string& name, const Options& options) {
  return ParseVolumeOptions(name, options, [](const std::string&, std::string_view time) {
    return ParseTime(time, kNow);
  });
}

std::string RefusalOf(const std::string& name, const Options& options) {
  try {
    Parse(name, options);
  } catch (const Refused& refused) {
    EXPECT_EQ(refused.error(), EINVAL);
    return refused.what();
  }
  return "";
}

TEST(OptionsTest, NoOptionsMakeAnEmptyVolume) {
  CreateRequest request = Parse("pgdata", {});
  EXPECT_EQ(request.name, "pgdata");
  EXPECT_EQ(request.source_kind, SourceKind::kNone);
  EXPECT_FALSE(request.at || request.uid || request.gid || request.mode);
}

TEST(OptionsTest, EachSourceIsUnderstood) {
  CreateRequest snapshot = Parse("s", {{"snapshot-of", "v"}});
  EXPECT_EQ(snapshot.source_kind, SourceKind::kSnapshotOf);
  EXPECT_EQ(snapshot.source, "v");
  EXPECT_FALSE(snapshot.at);

  CreateRequest clone = Parse("c", {{"clone-of", "v"}, {"at", "10m"}});
  EXPECT_EQ(clone.source_kind, SourceKind::kCloneOf);
  EXPECT_EQ(clone.at, Instant{kNow.ns - 600'000'000'000});

  CreateRequest rollback = Parse("before", {{"rollback", "v"}, {"at", "now"}});
  EXPECT_EQ(rollback.source_kind, SourceKind::kRollback);
  EXPECT_EQ(rollback.name, "before");
  EXPECT_EQ(rollback.source, "v");
  EXPECT_EQ(rollback.at, kNow);
  EXPECT_EQ(rollback.options, (Options{{"rollback", "v"}, {"at", "now"}}));
}

TEST(OptionsTest, OwnerAndModeOfTheRoot) {
  CreateRequest request = Parse("v", {{"uid", "0"}, {"gid", "4294967294"}, {"mode", "1777"}});
  EXPECT_EQ(request.uid, 0u);
  EXPECT_EQ(request.gid, 4294967294u);
  EXPECT_EQ(request.mode, 01777u);
  EXPECT_EQ(Parse("v", {{"mode", "0750"}}).mode, 0750u);
  EXPECT_EQ(Parse("v", {{"mode", "0"}}).mode, 0u);
  EXPECT_EQ(Parse("v", {{"clone-of", "s"}, {"uid", "7"}}).uid, 7u);
}

TEST(OptionsTest, HelpListsEveryOption) {
  for (const Options& options :
       {Options{{"help", ""}}, Options{{"help", "x"}, {"nonsense", "1"}}}) {
    std::string help = RefusalOf("v", options);
    for (const VolumeOption& option : VolumeOptions()) {
      EXPECT_THAT(help, HasSubstr(option.name));
      EXPECT_THAT(help, HasSubstr(option.meaning));
    }
  }
}

TEST(OptionsTest, AnUnknownOptionIsAnsweredWithTheValidOnes) {
  std::string refusal = RefusalOf("v", {{"colour", "10G"}});
  EXPECT_THAT(refusal, HasSubstr("unknown option \"colour\""));
  for (const VolumeOption& option : VolumeOptions()) EXPECT_THAT(refusal, HasSubstr(option.name));
  EXPECT_THAT(refusal, Not(HasSubstr("\n")));
}

struct BadOptions {
  Options options;
  const char* why;
};

const BadOptions kBadOptions[] = {
    {{{"snapshot-of", "a"}, {"clone-of", "b"}}, "at most one of"},
    {{{"snapshot-of", "a"}, {"rollback", "b"}, {"at", "1m"}}, "at most one of"},
    {{{"clone-of", "a"}, {"rollback", "a"}, {"at", "1m"}}, "at most one of"},
    {{{"at", "10m"}}, "at needs one of snapshot-of, clone-of and rollback"},
    {{{"rollback", "a"}}, "rollback needs at=TIME"},
    {{{"snapshot-of", ""}}, "snapshot-of needs a value: snapshot-of=VOLUME"},
    {{{"clone-of", "a"}, {"at", ""}}, "at needs a value: at=TIME"},
    {{{"clone-of", "a"}, {"at", "soon"}}, "not a time: \"soon\""},
    {{{"clone-of", "a"}, {"at", "2026-11-22T17:31:00"}}, "no zone"},
    {{{"uid", "root"}}, "from 0 to 4294967294"},
    {{{"uid", "-1"}}, "from 0 to 4294967294"},
    {{{"uid", "4294967295"}}, "from 0 to 4294967294"},
    {{{"gid", "1 "}}, "from 0 to 4294967294"},
    {{{"gid", "99999999999"}}, "from 0 to 4294967294"},
    {{{"mode", "0788"}}, "octal"},
    {{{"mode", "u=rwx"}}, "octal"},
    {{{"mode", "10000"}}, "octal"},
    {{{"mode", ""}}, "needs a value"},
    {{{"size", "0"}}, "from 1 up"},
    {{{"size", "-1"}}, "from 1 up"},
    {{{"size", "20GB"}}, "such as 20G"},
    {{{"size", "G"}}, "such as 20G"},
    {{{"size", "8192P"}}, "such as 20G"},
    {{{"size", "99999999999999999999"}}, "such as 20G"},
    {{{"snapshot-of", "a"}, {"size", "1G"}}, "size is for new volumes and clones"},
    {{{"retention", "a day"}}, "retention=\"a day\" refused: it must be a duration"},
    {{{"keep", "often"}}, "\"often\" is none of hourly:SPAN"},
    {{{"keep", "daily:12h"}}, "shorter than its period"},
    {{{"history-limit", "0"}}, "history-limit=\"0\" refused"},
    {{{"trash", "7"}}, "trash=\"7\" refused: it must be a duration"},
    {{{"trash", ""}}, "trash needs a value: trash=DURATION"},
    {{{"snapshot-of", "a"}, {"retention", "1h"}}, "are for new volumes and clones"},
    {{{"rollback", "a"}, {"at", "1m"}, {"trash", "0"}}, "are for new volumes and clones"},
    {{{"mount", "suid dev"}}, "\"suid dev\" is none of suid, dev and noexec"},
    {{{"mount", "suid,"}}, "\"\" is none of"},
    {{{"mount", "ro"}}, "none of"},
    {{{"snapshot-of", "a"}, {"uid", "1"}}, "for new volumes and clones"},
    {{{"rollback", "a"}, {"at", "1m"}, {"mode", "700"}}, "for new volumes and clones"},
    {{{"", "x"}}, "unknown option"},
    {{{"a\nb", "x"}}, "\\x0a"},
    {{{std::string(5000, 'k'), "x"}}, "(5000 bytes)"},
};

TEST(OptionsTest, BadOptionsAreRefusedInOneLine) {
  for (const BadOptions& bad : kBadOptions) {
    std::string refusal = RefusalOf("v", bad.options);
    EXPECT_THAT(refusal, HasSubstr(bad.why));
    EXPECT_THAT(refusal, Not(HasSubstr("\n")));
  }
}

TEST(OptionsTest, NamesAreBytesThatEveryToolCanShow) {
  for (const std::string& name :
       {std::string("a"), std::string("pg data@1"), std::string(255, 'x'), std::string("..."),
        std::string("-"), std::string("Größe"), std::string("数据")}) {
    EXPECT_NO_THROW(CheckVolumeName(name)) << name;
  }
  for (const std::string& name :
       {std::string(), std::string("."), std::string(".."), std::string("a/b"), std::string("/"),
        std::string("../x"), std::string("a\nb"), std::string("a\0b", 3), std::string("\x7f"),
        std::string("a\x1b[31m"), std::string("\xc2\x9b"), std::string("\xff"),
        std::string("\xc0\xaf"), std::string("\xed\xa0\x80"), std::string(256, 'x'),
        std::string(10'000, 'y')}) {
    std::string refusal = RefusalOf(name, {});
    EXPECT_THAT(refusal, HasSubstr("volume name")) << name;
    EXPECT_THAT(refusal, HasSubstr("accepted are 1 to 255 bytes")) << name;
    EXPECT_THAT(refusal, Not(HasSubstr("\n")));
    EXPECT_LT(refusal.size(), 500u);
  }
}

TEST(OptionsTest, SizesCountInPowersOf1024) {
  const auto size = [](const char* value) { return Parse("v", {{"size", value}}).size_bytes; };
  EXPECT_EQ(Parse("v", {}).size_bytes, std::nullopt);
  EXPECT_EQ(size("1"), 1u);
  EXPECT_EQ(size("4096"), 4096u);
  EXPECT_EQ(size("20G"), uint64_t{20} << 30);
  EXPECT_EQ(size("3k"), 3072u);
  EXPECT_EQ(size("8191P"), uint64_t{8191} << 50);
}

TEST(OptionsTest, RetentionIsHandedOnInItsOwnWords) {
  EXPECT_TRUE(Parse("v", {}).retention.empty());
  const RetentionSettings settings = {
      {"retention", "24h"}, {"keep", "hourly:7d"}, {"history-limit", "50G"}, {"trash", "0"}};
  EXPECT_EQ(Parse("v", settings).retention, settings);
  EXPECT_EQ(Parse("v", {{"clone-of", "s"}, {"keep", "none"}}).retention,
            (RetentionSettings{{"keep", "none"}}));
  // Whether this is a contradiction depends on the daemon's default range.
  EXPECT_EQ(Parse("v", {{"keep", "hourly:2h"}}).retention.at("keep"), "hourly:2h");
}

TEST(OptionsTest, MountsWithholdWhatTheyAreNotToldToAllow) {
  const auto flags = [](const std::string& value) {
    VolumeRecord record;
    if (!value.empty()) record.options = {{"mount", value}};
    return MountFlagsOf(record);
  };
  EXPECT_EQ(flags(""), kDefaultMountFlags);
  EXPECT_EQ(flags("suid"), static_cast<unsigned long>(MS_NODEV));
  EXPECT_EQ(flags("dev"), static_cast<unsigned long>(MS_NOSUID));
  EXPECT_EQ(flags("suid,dev"), 0u);
  EXPECT_EQ(flags("noexec"), kDefaultMountFlags | MS_NOEXEC);
}

}  // namespace
}  // namespace rw
