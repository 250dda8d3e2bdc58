// Goal: a power failure while RocksDB writes its MANIFEST costs what was being written, not the
// index.
//
// Method: an index with two flushes; the end of its MANIFEST is torn in every way that a disk
// tears: cut short, zeroed, or with a byte that is another.
#include "metadata/index_files.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "metadata/index.h"
#include "tests/support/temp_dir.h"

namespace rw {
namespace {

class IndexFilesTest : public ::testing::Test {
 protected:
  void SetUp() override {
    const auto index = Open();
    Put(*index, "first");
    sound_ = Manifest().size();
    Put(*index, "second");
    whole_ = Manifest();
    std::filesystem::copy(path_, temp_.path() / "copy");  // as it is while the index is open
  }

  std::unique_ptr<Index> Open() {
    return Index::Open(
        {path_, 0, {}, {}, {}, [this](const std::string& what) { repaired_ = what; }});
  }
  static void Put(Index& index, const std::string& key) {
    index.Rewrite({{key, "value"}});
    index.Flush();
  }
  std::filesystem::path ManifestPath() const {
    std::string name;
    std::ifstream(path_ / "CURRENT") >> name;
    return path_ / name;
  }
  std::string Manifest() const {
    std::ifstream in(ManifestPath(), std::ios::binary);
    return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
  }
  // The index as it was, with this MANIFEST.
  void Restore(const std::string& manifest) {
    std::filesystem::remove_all(path_);
    std::filesystem::copy(temp_.path() / "copy", path_);
    std::ofstream(ManifestPath(), std::ios::binary | std::ios::trunc) << manifest;
    repaired_.clear();
  }

  testing::TempDir temp_;
  const std::filesystem::path path_ = temp_.path() / "index";
  size_t sound_ = 0;  // bytes of the MANIFEST after the first flush
  std::string whole_;
  std::string repaired_;
};

TEST_F(IndexFilesTest, AWholeManifestIsLeftAlone) {
  EXPECT_EQ(SoundManifestBytes(whole_), whole_.size());
  Restore(whole_);
  EXPECT_TRUE(Open()->Get("second").has_value());
  EXPECT_EQ(repaired_, "");
}

TEST_F(IndexFilesTest, WhatWasBeingWrittenIsCut) {
  ASSERT_LT(sound_, whole_.size());
  const size_t last_record = SoundManifestBytes(whole_.substr(0, whole_.size() - 1));
  for (size_t at = sound_; at < whole_.size(); at += 5) {
    std::string zeroed = whole_, other = whole_;
    std::fill(zeroed.begin() + static_cast<ptrdiff_t>(at), zeroed.end(), '\0');
    other[at] = static_cast<char>(other[at] ^ 0x40);
    for (const std::string& torn : {whole_.substr(0, at), zeroed, other}) {
      if (torn == other && at < last_record) continue;  // what follows was written later
      EXPECT_GE(SoundManifestBytes(torn), sound_);
      Restore(torn);
      const auto index = Open();
      EXPECT_TRUE(index->Get("first").has_value()) << at;
      Put(*index, "third");  // and it goes on
      if (SoundManifestBytes(torn) < torn.size()) {
        EXPECT_NE(repaired_, "") << at;
      }
    }
  }
}

TEST_F(IndexFilesTest, DamageThatSoundRecordsFollowIsNoTear) {
  std::string damaged = whole_;
  damaged[sound_ / 2] = static_cast<char>(damaged[sound_ / 2] ^ 0x40);
  Restore(damaged);
  EXPECT_THROW(Open(), IndexDamaged);
  EXPECT_EQ(repaired_, "");
  EXPECT_EQ(Manifest(), damaged) << "nothing is cut";
}

}  // namespace
}  // namespace rw
