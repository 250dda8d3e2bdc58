// Goal: a unified diff says how one text becomes another, in as few lines as can be.
// Method: what `diff -u` writes for the same texts, at random; and those that are a corner.
#include "plugin/text_diff.h"

#include <gtest/gtest.h>

#include <fstream>

#include "plugin/base64.h"
#include "tests/support/process.h"
#include "tests/support/random.h"
#include "tests/support/temp_dir.h"

namespace rw {
namespace {

std::string RandomText(testing::Random& random) {
  std::string text;
  for (uint64_t i = random.Below(30); i > 0; --i) {
    text += static_cast<char>('a' + random.Below(6));
    text += '\n';
  }
  if (!text.empty() && random.OneIn(4)) text.pop_back();
  return text;
}

// Applies it with the real patch tool's rules, in a few lines: context and removed lines must
// match.
std::string Apply(const std::string& before, const std::string& diff) {
  const auto lines = [](const std::string& text) {
    std::vector<std::string> all;
    for (size_t at = 0; at < text.size();) {
      const size_t end = std::min(text.find('\n', at), text.size() - 1) + 1;
      all.push_back(text.substr(at, end - at));
      at = end;
    }
    return all;
  };
  const auto old = lines(before);
  std::string result;
  size_t next = 0;
  auto edits = lines(diff);
  for (size_t i = 2; i < edits.size(); ++i) {
    std::string line = edits[i];
    if (line.starts_with("@@")) {
      size_t first = std::stoul(line.substr(4));
      const std::string range = line.substr(4, line.find(' ', 4) - 4);
      if (!range.ends_with(",0")) --first;
      for (; next < first; ++next) result += old.at(next);
      continue;
    }
    if (line.starts_with('\\')) continue;
    if (i + 1 < edits.size() && edits[i + 1].starts_with('\\')) line.pop_back();
    if (line[0] != '+') {
      EXPECT_EQ(old.at(next++), line.substr(1));
    }
    if (line[0] != '-') result += line.substr(1);
  }
  for (; next < old.size(); ++next) result += old[next];
  return result;
}

size_t Changes(const std::string& diff) {
  size_t count = 0;
  for (size_t at = 0; (at = diff.find('\n', at)) != diff.npos; ++at)
    count += diff[at + 1] == '+' || diff[at + 1] == '-' ? 1 : 0;
  return count;
}

TEST(TextDiffTest, MakesTheOtherTextWithAsFewLinesAsDiffDoes) {
  const testing::TempDir dir;
  testing::Random random(testing::NumberFromEnvironment("REWIND_SEED", 1));
  for (int i = 0; i < 200; ++i) {
    const std::string a = RandomText(random), b = RandomText(random);
    const std::string diff = UnifiedDiff(a, b, "a", "b");
    if (a == b) {
      ASSERT_EQ(diff, "");
      continue;
    }
    ASSERT_EQ(Apply(a, diff), b) << a << "\n\n" << b << "\n\n" << diff;
    if (i % 10 != 0) continue;
    std::ofstream(dir.path() / "a") << a;
    std::ofstream(dir.path() / "b") << b;
    const auto theirs =
        testing::Run({"/usr/bin/diff", "-u", "-d", dir.path() / "a", dir.path() / "b"});
    EXPECT_EQ(Changes(diff), Changes(theirs.out)) << diff << theirs.out;
  }
}

TEST(TextDiffTest, OfMuchThatDiffersAllIsSaidToHaveChanged) {
  std::string a = "same\n", b = "same\n";
  for (int i = 0; i < 3000; ++i) {
    a += "a" + std::to_string(i) + "\n";
    b += "b" + std::to_string(i) + "\n";
  }
  EXPECT_EQ(Apply(a, UnifiedDiff(a, b, "a", "b")), b);
}

TEST(TextDiffTest, TextIsUtf8WithoutNuls) {
  EXPECT_TRUE(IsText(""));
  EXPECT_TRUE(IsText("größe\n"));
  EXPECT_FALSE(IsText(std::string_view("a\0b", 3)));
  EXPECT_FALSE(IsText("\xff"));
}

TEST(Base64Test, AnyBytesComeBack) {
  testing::Random random(1);
  for (size_t size = 0; size < 200; ++size) {
    const std::string bytes = random.Bytes(size);
    EXPECT_EQ(DecodeBase64(EncodeBase64(bytes)), bytes) << size;
  }
  EXPECT_EQ(EncodeBase64("rewind"), "cmV3aW5k");
  EXPECT_EQ(EncodeBase64("rewin"), "cmV3aW4=");
  for (const char* bad : {"a", "ab!=", "====", "ab==ab=="}) EXPECT_ANY_THROW(DecodeBase64(bad));
}

}  // namespace
}  // namespace rw
