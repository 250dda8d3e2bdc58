// The journal over a file layer that can fail: what Append and Sync promise, and what recovery
// keeps, cuts and refuses.
#include "fs/journal.h"

#include <errno.h>
#include <gtest/gtest.h>

#include <fstream>
#include <random>
#include <set>
#include <thread>

#include "metadata/refused.h"
#include "tests/support/inode_numbers.h"
#include "tests/support/temp_dir.h"
#include "tests/support/watched_files.h"

namespace rw {
namespace {

constexpr TimelineId kTimeline = 7;

struct Entry {
  Instant instant;
  std::string body, data;
  JournalPosition position;
};

class JournalTest : public ::testing::Test {
 protected:
  std::unique_ptr<Journal> Open(JournalPosition from = {}, Instant after = {}) {
    recovered_.clear();
    return std::make_unique<Journal>(
        &files_, directory(), kTimeline, from, after, false, [this](const ScannedRecord& record) {
          recovered_.push_back(
              {record.header.instant, std::string(record.body), "", record.position});
        });
  }
  Journal::Appended Append(Journal* journal, size_t data_bytes) {
    const Instant instant{++last_instant_};
    std::string body = "body " + std::to_string(instant.ns);
    std::string data(data_bytes, static_cast<char>(instant.ns));
    const auto appended = journal->Append(RecordType::kWrite, instant, 0, body, data);
    written_.push_back({instant, body, data, appended.record});
    return appended;
  }
  void ExpectRecovered(size_t count) {
    ASSERT_EQ(recovered_.size(), count);
    for (size_t i = 0; i < count; ++i) {
      EXPECT_EQ(recovered_[i].instant, written_[i].instant);
      EXPECT_EQ(recovered_[i].body, written_[i].body);
    }
  }
  std::filesystem::path directory() const { return temp_.path() / std::to_string(kTimeline); }
  std::filesystem::path SegmentPath(uint32_t number) const {
    return directory() / SegmentFileName(number);
  }
  void FlipByte(uint32_t segment, uint64_t offset) {
    std::fstream file(SegmentPath(segment), std::ios::in | std::ios::out | std::ios::binary);
    file.seekg(static_cast<std::streamoff>(offset));
    const int byte = file.get();
    file.seekp(static_cast<std::streamoff>(offset));
    file.put(static_cast<char>(byte ^ 0x40));
  }

  // Segments of another timeline, full of its records, as files to be used again.
  void FillPool(SegmentPool* pool) {
    std::vector<std::filesystem::path> segments;
    std::filesystem::remove_all(temp_.path() / "3");
    Journal other(&files_, temp_.path() / "3", 3, {}, {}, true, [](const ScannedRecord&) {});
    other.LimitSegments(kMinSegmentBytes);
    for (uint64_t at = 1; at <= 40; ++at)
      other.Append(RecordType::kWrite, Instant{at}, 0, "old", std::string(10000, 'o'));
    for (const uint32_t number : ListSegments(&files_, temp_.path() / "3"))
      segments.push_back(temp_.path() / "3" / SegmentFileName(number));
    segments.pop_back();
    pool->Free(segments);
  }

  testing::TempDir temp_;
  testing::WatchedFiles files_;
  uint64_t last_instant_ = 1000;
  std::vector<Entry> written_, recovered_;
};

TEST_F(JournalTest, RecoversEverythingAcrossSegmentsAndGoesOn) {
  std::mt19937_64 random(1);
  for (int round = 0; round < 4; ++round) {
    const auto journal = Open();
    ExpectRecovered(written_.size());
    for (int i = 0; i < 100; ++i) Append(journal.get(), random() % 20000);
  }
  Open();
  ExpectRecovered(400);
  EXPECT_GT(ListSegments(&files_, directory()).size(), 3u);
}

TEST_F(JournalTest, ReadsBackWhatExtentsPointTo) {
  const auto journal = Open();
  SegmentReader reader(&files_, temp_.path());
  std::mt19937_64 random(2);
  for (int i = 0; i < 100; ++i) {
    std::string data(1 + random() % 30000, '\0');
    for (char& c : data) c = static_cast<char>(random());
    const auto where = journal->Append(RecordType::kWrite, Instant{++last_instant_}, 0, "b", data);
    Extent extent;
    extent.length = static_cast<uint32_t>(data.size());
    extent.timeline = kTimeline;
    extent.segment = where.record.segment;
    extent.frame_position = where.first_frame;
    for (int look = 0; look < 5; ++look) {
      const auto from = static_cast<uint32_t>(random() % data.size());
      const auto to = static_cast<uint32_t>(from + 1 + random() % (data.size() - from));
      const Extent part = extent.Slice(from, to);
      std::string out(to - from, '\0');
      reader.Read(part, 0, out);
      ASSERT_EQ(out, data.substr(from, to - from));
    }
  }
}

TEST_F(JournalTest, DamagedDataAreAnErrorAndNeverBytes) {
  Journal::Appended where;
  {
    const auto journal = Open();
    where = Append(journal.get(), 10000);
  }
  for (const uint64_t offset :
       {uint64_t{0}, uint64_t{4}, uint64_t{4099}, uint64_t{4100}, uint64_t{9000}}) {
    FlipByte(1, where.first_frame + offset);
    SegmentReader reader(&files_, temp_.path());
    Extent extent{0, 10000, kTimeline, 1, where.first_frame, 0, 0};
    std::string out(10000, '\0');
    try {
      reader.Read(extent, 0, out);
      ADD_FAILURE() << "read damaged data at " << offset;
    } catch (const Refused& refused) {
      EXPECT_EQ(refused.error(), EIO);
      EXPECT_NE(std::string(refused.what()).find(SegmentFileName(1)), std::string::npos)
          << refused.what();
    }
    FlipByte(1, where.first_frame + offset);
  }
}

TEST_F(JournalTest, CutsATornTailWhereverItIsTorn) {
  // Goal: whatever part of the last record is lost, exactly the records before it are kept, and
  // what is appended afterwards is recovered as well. Method: keep a copy, spoil the last record at
  // many places.
  Journal::Appended last;
  {
    const auto journal = Open();
    for (int i = 0; i < 5; ++i) last = Append(journal.get(), 3000);
  }
  const std::filesystem::path copy = temp_.path() / "copy";
  std::filesystem::copy_file(SegmentPath(1), copy);
  const std::vector<Entry> all = written_;
  for (uint32_t torn = last.record.offset; torn < last.next.offset - 8; torn += 97) {
    SCOPED_TRACE(torn);
    written_ = all;
    std::filesystem::copy_file(copy, SegmentPath(1),
                               std::filesystem::copy_options::overwrite_existing);
    FlipByte(1, torn);
    {
      const auto journal = Open();
      ExpectRecovered(4);
      written_.pop_back();
      Append(journal.get(), 100);
    }
    Open();
    ExpectRecovered(5);
  }
}

TEST_F(JournalTest, DamageBeforeWhatWasDurableIsRefusedAndNothingIsCut) {
  Journal::Appended middle;
  {
    const auto journal = Open();
    for (int i = 0; i < 5; ++i) middle = Append(journal.get(), 1000);
    journal->Sync();
    for (int i = 0; i < 5; ++i) Append(journal.get(), 1000);
  }
  for (const uint32_t at : {30U, kRecordHeaderBytes + 2}) {  // its header, its body
    SCOPED_TRACE(at);
    FlipByte(1, middle.record.offset + at);
    try {
      Open();
      FAIL() << "opened a damaged journal";
    } catch (const Refused& refused) {
      EXPECT_EQ(refused.error(), EIO);
    }
    FlipByte(1, middle.record.offset + at);
  }
  Open();
  ExpectRecovered(10);
}

TEST_F(JournalTest, ADamagedLastRecordThatWasDurableIsNotTakenForATornOne) {
  auto journal = Open();
  for (int i = 0; i < 3; ++i) Append(journal.get(), 5000);
  journal->Sync();
  const JournalPosition end = journal->end();
  journal->NoteDurable();
  Append(journal.get(), 100);  // not synced: may be torn
  journal.reset();
  FlipByte(1, end.offset + 60);
  EXPECT_NO_THROW(Open());
  ExpectRecovered(3);
  const uint64_t header = written_[2].position.offset + 30;
  FlipByte(1, header);
  const auto size = std::filesystem::file_size(SegmentPath(1));
  EXPECT_THROW(Open(), Refused);
  EXPECT_EQ(std::filesystem::file_size(SegmentPath(1)), size);
  FlipByte(1, header);  // nothing was cut
  Open();
  ExpectRecovered(3);
}

// Goal: damaged data hurt those who read them, not the operations around them. Method: each frame
// of each record in turn gets a flipped byte; a later record says how far all was on the disk, or
// the note does, or nobody: then it may be torn, and is where the journal ends.
TEST_F(JournalTest, DamagedDataThatWereDurableAreNotTheOperationsDamage) {
  constexpr size_t kRecords = 6, kBytes = 10000;
  std::vector<Journal::Appended> where;
  {
    const auto journal = Open();
    for (size_t i = 0; i < kRecords; ++i) {
      where.push_back(Append(journal.get(), kBytes));
      if (i == 1) journal->Sync();  // which the third says
      if (i != 3) continue;
      journal->Sync();
      journal->NoteDurable();
    }
  }
  const std::filesystem::path copy = temp_.path() / "copy", note = directory() / "durable";
  std::filesystem::copy_file(SegmentPath(1), copy);
  const std::vector<Entry> all = written_;
  for (const bool noted : {true, false}) {
    if (!noted) std::filesystem::remove(note);
    for (size_t i = 0; i < kRecords; ++i) {
      for (const uint64_t at : {0U, 5U, kFrameBytes + 5, 2 * kFrameBytes + 5}) {
        SCOPED_TRACE(std::to_string(i) + (noted ? " noted " : " ") + std::to_string(at));
        std::filesystem::copy_file(copy, SegmentPath(1),
                                   std::filesystem::copy_options::overwrite_existing);
        FlipByte(1, where[i].first_frame + at);
        // The fifth and the sixth say that the first four were durable.
        const size_t kept = i < 4 ? kRecords : i;
        Open();
        ASSERT_NO_FATAL_FAILURE(ExpectRecovered(kept));
        SegmentReader reader(&files_, temp_.path());
        for (size_t j = 0; j < kept; ++j) {
          const Extent extent{0, kBytes, kTimeline, 1, where[j].first_frame, 0, 0};
          std::string out(kBytes, '\0');
          if (j == i) {
            EXPECT_THROW(reader.Read(extent, 0, out), Refused);
          } else {
            reader.Read(extent, 0, out);
            EXPECT_EQ(out, all[j].data);
          }
        }
      }
    }
  }
}

TEST_F(JournalTest, AFailedWriteIsAsIfItHadNeverBeen) {
  const auto journal = Open();
  Append(journal.get(), 5000);
  files_.fail_writes = 1;
  EXPECT_THROW(
      journal->Append(RecordType::kWrite, Instant{++last_instant_}, 0, std::string(100, 'x'), {}),
      Refused);
  Append(journal.get(), 10);
  Open();
  ExpectRecovered(2);
}

TEST_F(JournalTest, AFullDiskRefusesTheOperationAndLaterGoesOn) {
  auto journal = Open();
  Append(journal.get(), 40000);
  files_.largest_allocation = 0;
  try {
    journal->Append(RecordType::kWrite, Instant{++last_instant_}, 0, "b", std::string(40000, 'x'));
    FAIL() << "appended without space";
  } catch (const Refused& refused) {
    EXPECT_EQ(refused.error(), ENOSPC);
  }
  files_.largest_allocation = UINT64_MAX;
  Append(journal.get(), 40000);
  journal.reset();
  Open();
  ExpectRecovered(2);
}

TEST_F(JournalTest, ADiskThatIsNearlyFullIsUsedToItsEnd) {
  auto journal = Open();
  files_.largest_allocation = 128 << 10;
  for (int i = 0; i < 100; ++i)
    Append(journal.get(), 30000);  // unhindered, segments would be far larger by now
  journal.reset();
  Open();
  ExpectRecovered(100);
}

TEST_F(JournalTest, AfterAFailedSyncNothingIsPromisedAnyMore) {
  const auto journal = Open();
  Append(journal.get(), 10);
  files_.FailSyncsOf("/");
  EXPECT_THROW(journal->Sync(), Refused);
  files_.FailSyncsOf("");
  EXPECT_THROW(journal->Sync(), Refused);
  EXPECT_THROW(Append(journal.get(), 10), Refused);
}

TEST_F(JournalTest, SyncsAtTheSameTimeShareOne) {
  const auto journal = Open();
  std::mutex append_mutex;
  files_.syncs = 0;
  std::vector<std::thread> threads;
  constexpr int kThreads = 8, kRounds = 20;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < kRounds; ++i) {
        {
          const std::lock_guard lock(append_mutex);
          Append(journal.get(), 100);
        }
        journal->Sync();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_LT(files_.syncs, kThreads * kRounds / 2);
}

// Goal: a segment that is used again shows nothing of what it held, wherever the machine died.
// Method: records go into files that hold another timeline's; then the newest record is lost, which
// leaves what the file held before there, and the journal is opened again, for each length.
TEST_F(JournalTest, ASegmentThatIsUsedAgainShowsNothingOfWhatItHeld) {
  for (int records = 1; records <= 12; ++records) {
    std::filesystem::remove_all(directory());
    written_.clear();
    SegmentPool pool(&files_, temp_.path() / "free", kMinSegmentBytes);
    FillPool(&pool);
    const std::set<ino_t> freed = testing::InodeNumbersIn(temp_.path() / "free");
    ASSERT_GE(freed.size(), 3u);
    auto journal = Open();
    journal->LimitSegments(kMinSegmentBytes);
    journal->UsePool(&pool);
    std::vector<char> before(kMinSegmentBytes);
    Journal::Appended last;
    for (int i = 0; i < records; ++i) {
      const auto end = journal->end();
      if (end.segment != 0)
        files_.Open(SegmentPath(end.segment), FileLayer::Mode::kRead)->ReadAt(before, 0);
      last = Append(journal.get(), 9000 + static_cast<size_t>(i) * 100);
    }
    for (const ino_t ino : testing::InodeNumbersIn(directory())) EXPECT_TRUE(freed.contains(ino));
    journal.reset();
    Open();
    ExpectRecovered(static_cast<size_t>(records));
    if (last.record.offset == kSegmentHeaderBytes) continue;  // `before` is of another segment
    const auto file = files_.Open(SegmentPath(last.record.segment), FileLayer::Mode::kReadWrite);
    const iovec part{before.data() + last.record.offset, last.bytes};
    file->WriteAt({&part, 1}, last.record.offset);
    journal = Open();
    ExpectRecovered(static_cast<size_t>(records - 1));
    written_.pop_back();
    Append(journal.get(), 100);
    journal.reset();
    Open();
    ExpectRecovered(static_cast<size_t>(records));
  }
}

TEST_F(JournalTest, ASegmentThatWasJustTakenWhenTheMachineDiedIsNoDamage) {
  SegmentPool pool(&files_, temp_.path() / "free", kMinSegmentBytes);
  FillPool(&pool);
  auto journal = Open();
  Append(journal.get(), 100);
  journal.reset();
  ASSERT_NE(pool.Take(SegmentPath(2)), nullptr);  // and no header yet
  journal = Open();
  ExpectRecovered(1);
  EXPECT_FALSE(std::filesystem::exists(SegmentPath(2)));
}

TEST_F(JournalTest, WritesWholePagesSoThatNothingIsReadBack) {
  auto journal = Open();
  Append(journal.get(), 1);
  files_.writes_of_partial_pages = 0;
  const uint32_t segment = journal->end().segment;
  for (size_t bytes = 0; journal->end().segment == segment; bytes += 321)
    Append(journal.get(), bytes);
  journal.reset();
  journal = Open();
  Append(journal.get(), 77);
  EXPECT_LE(files_.writes_of_partial_pages, 2) << "a segment's header and end";
}

// Goal: who syncs often has his records go to blocks that were written before, whoever does not
// pays nothing for that, and what was written ahead is neither record nor damage. Method: the layer
// counts bytes; a journal with a sync after each record is opened again at each length.
TEST_F(JournalTest, WritesAheadForThoseWhoSyncOften) {
  constexpr int kRecords = 60;
  constexpr uint64_t kPerRecord = 2 * 4096;  // two pages at most, of this size
  auto journal = Open();
  files_.bytes_written = 0;
  for (int i = 0; i < kRecords; ++i) Append(journal.get(), 3000);
  EXPECT_LE(files_.bytes_written, kRecords * kPerRecord);
  files_.bytes_written = 0;
  uint64_t largest = 0;
  for (int i = 0; i < kRecords; ++i) {
    journal->Sync();
    const uint64_t before = files_.bytes_written;
    Append(journal.get(), 3000);
    largest = std::max(largest, files_.bytes_written - before);
    if (i % 10 != 0) continue;
    journal.reset();
    journal = Open();
    ExpectRecovered(written_.size());
  }
  EXPECT_GT(largest, 4 * kPerRecord) << "nothing was written ahead";
  EXPECT_LE(largest, kPerRecord + (256 << 10) + kMinSegmentBytes);
}

TEST_F(JournalTest, WhatCannotBeWrittenAheadIsDoneWithout) {
  auto journal = Open();
  Append(journal.get(), 3000);
  journal->Sync();
  int writes = 0;
  files_.before_write = [&](const std::string&) {
    if (writes++ == 0) throw Refused(EIO, "a bad block");
  };
  Append(journal.get(), 3000);
  EXPECT_EQ(writes, 2) << "ahead, and the record";
  files_.before_write = nullptr;
  for (int i = 0; i < 40; ++i) {
    journal->Sync();
    Append(journal.get(), 3000);
  }
  journal.reset();
  Open();
  ExpectRecovered(42);
}

TEST_F(JournalTest, ThePoolKeepsWhatIsWorthItAndFits) {
  const auto count = [&] { return ListSegments(&files_, directory()).size(); };
  SegmentPool pool(&files_, temp_.path() / "free", kMinSegmentBytes);
  pool.Limit(2 * kMinSegmentBytes);
  FillPool(&pool);
  EXPECT_EQ(testing::InodeNumbersIn(temp_.path() / "free").size(), 2u) << "no more than the limit";
  // A later run takes them up, but none that was being freed or begun.
  std::ofstream(temp_.path() / "free" / "99")
      << "the header of what it was" << std::string(70, 'x');
  SegmentPool later(&files_, temp_.path() / "free", kMinSegmentBytes);
  EXPECT_EQ(testing::InodeNumbersIn(temp_.path() / "free").size(), 2u);
  files_.MakeDirectory(directory());
  EXPECT_NE(later.Take(SegmentPath(1)), nullptr);
  later.Limit(0);
  EXPECT_EQ(later.Take(SegmentPath(2)), nullptr);
  EXPECT_EQ(count(), 1u);
  EXPECT_TRUE(testing::InodeNumbersIn(temp_.path() / "free").empty());
  SegmentPool larger(&files_, temp_.path() / "free", 4 * kMinSegmentBytes);
  larger.Free({SegmentPath(1)});
  EXPECT_TRUE(testing::InodeNumbersIn(temp_.path() / "free").empty()) << "too small to be worth it";
  EXPECT_EQ(count(), 0u);
}

TEST_F(JournalTest, StartsReplayWhereItIsTold) {
  JournalPosition from;
  {
    const auto journal = Open();
    for (int i = 0; i < 10; ++i) {
      const auto appended = Append(journal.get(), 30000);
      if (i == 4) from = appended.next;
    }
  }
  Open(from, written_[4].instant);
  ASSERT_EQ(recovered_.size(), 5u);
  EXPECT_EQ(recovered_.front().instant, written_[5].instant);
}

}  // namespace
}  // namespace rw
