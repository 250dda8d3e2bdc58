// Goal: what is exported at an instant and imported again is what the volume was at that instant:
// contents and holes, names of any bytes, owners, modes, times, links, devices, xattrs and ACLs.
//
// Method: random operations on a volume beside its reference model; at random instants of its past
// the view becomes an archive, the archive another volume, and the whole tree is compared with the
// model's. REWIND_SEED repeats one seed, REWIND_OPS makes the run longer or shorter.
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <clocale>
#include <iostream>
#include <random>

#include "fs/store.h"
#include "plugin/archive_reader.h"
#include "plugin/archive_writer.h"
#include "plugin/tree_receiver.h"
#include "plugin/tree_sender.h"
#include "tests/support/random_operations.h"
#include "tests/support/temp_dir.h"
#include "tests/support/twin.h"

namespace rw::testing {
namespace {

constexpr uint64_t kOperations = 2500;
constexpr uint64_t kOperationsBetweenExports = 60;

// In pieces of odd sizes, as a socket would pass them on.
void Pass(const std::string& bytes, Random* random, FrameReader* to) {
  for (size_t at = 0; at < bytes.size();) {
    const size_t count = 1 + random->Below(random->OneIn(3) ? 9 : 70'000);
    to->Append(std::string_view(bytes).substr(at, count));
    at += count;
  }
}

std::string ArchiveOf(Volume& view, Random* random) {
  std::setlocale(LC_CTYPE, "C.UTF-8");
  std::string frames, archive;
  TreeSender(&view, [&frames](std::string_view bytes) { frames += bytes; }).Send();
  ArchiveWriter writer([&archive](std::string_view bytes) { archive += bytes; });
  FrameReader reader([&](const Frame& frame) {
    frame.kind == FrameKind::kEnd ? writer.Finish() : writer.Take(frame);
  });
  Pass(frames, random, &reader);
  EXPECT_TRUE(reader.ended());
  return archive;
}

void Fill(Volume& volume, const std::string& archive, Random* random) {
  std::setlocale(LC_CTYPE, "C");
  const int file = memfd_create("archive", MFD_CLOEXEC);
  ASSERT_EQ(write(file, archive.data(), archive.size()), static_cast<ssize_t>(archive.size()));
  lseek(file, 0, SEEK_SET);
  std::string frames;
  ReadArchive({file, nullptr}, [&frames](std::string_view bytes) { frames += bytes; });
  close(file);
  TreeReceiver receiver(&volume, [](uint64_t) {});
  FrameReader reader([&](const Frame& frame) {
    frame.kind == FrameKind::kEnd ? receiver.Finish() : receiver.Take(frame);
  });
  Pass(frames, random, &reader);
  EXPECT_TRUE(reader.ended());
}

// What archives do not have is the time of the last change of an inode, sockets, the first seconds
// of time, and an access time that is 0, which libarchive takes for none.
void ForgetWhatArchivesLack(Tree* expected, Tree* actual) {
  std::erase_if(*expected, [](const auto& entry) { return S_ISSOCK(entry.second.mode); });
  for (auto& [path, node] : *expected) {
    node.ctime = {};
    const auto found = actual->find(path);
    if (found == actual->end()) continue;
    found->second.ctime = {};
    if (node.atime.seconds <= INT64_MIN + 1 || node.atime == FileTime{})
      found->second.atime = node.atime;
    if (node.mtime.seconds <= INT64_MIN + 1) found->second.mtime = node.mtime;
  }
}

TEST(ArchiveTest, BringsBackWhatTheVolumeWas) {
  const uint64_t seed = NumberFromEnvironment("REWIND_SEED", std::random_device()());
  const uint64_t operations = NumberFromEnvironment("REWIND_OPS", kOperations);
  std::cout << "seed " << seed << std::endl;
  TempDir dir;
  StoreOptions options(dir.path() / "root");
  options.collector.background = false;
  const auto store = Store::Open(options);
  CreateRequest request;
  request.name = "v";
  store->Create(request);
  auto volume = store->OpenVolume("v");
  const Instant created = store->Find("v")->created;
  Twin twin{"v", volume, ReferenceModel(created, *volume->FindInode(kRootIno)), {{kModelRoot, 1}}};
  RandomOperations draw(seed, {});
  Random random(seed + 1);
  std::vector<Instant> instants;
  size_t compared = 0;
  for (uint64_t i = 0; i < operations; ++i) {
    ASSERT_EQ(twin.Step(draw.Next(twin.model)), "") << "seed " << seed << ", operation " << i;
    instants.push_back(volume->last_instant());
    if (i % kOperationsBetweenExports != 0) continue;
    const Instant at = random.OneIn(2) ? instants.back() : random.PickFrom(instants);
    SCOPED_TRACE("seed " + std::to_string(seed) + ", operation " + std::to_string(i) + ", at " +
                 std::to_string(at.ns));
    const std::string archive = ArchiveOf(*store->OpenAt("v", at), &random);
    ASSERT_EQ(archive, ArchiveOf(*store->OpenAt("v", at), &random)) << "the same again differs";
    request.name = "copy" + std::to_string(i);
    const std::string unfinished = store->Begin(request);
    ASSERT_NO_THROW(Fill(*store->OpenVolume(unfinished), archive, &random));
    store->Finish(unfinished, request.name);
    CollectedTree copy = CollectTree(*store->OpenVolume(request.name));
    ASSERT_EQ(copy.ProblemText(), "");
    LinkNames(copy);
    Tree expected = twin.model.TreeAt(at);
    ForgetWhatArchivesLack(&expected, &copy.tree);
    ASSERT_EQ(Difference(expected, copy.tree), "");
    ++compared;
    store->Remove(request.name);
    store->Purge(request.name);
  }
  std::cout << compared << " archives" << std::endl;
}

TEST(ArchiveTest, AVolumeInTheMakingIsNobodys) {
  TempDir dir;
  StoreOptions options(dir.path() / "root");
  options.collector.background = false;
  auto store = Store::Open(options);
  CreateRequest request;
  request.name = "v";
  const std::string unfinished = store->Begin(request);
  store->OpenVolume(unfinished)->Create({}, kRootIno, "f", S_IFREG | 0644);
  EXPECT_TRUE(store->List().empty());
  EXPECT_FALSE(store->Find("v"));
  // The next start ends it, and its data.
  store.reset();
  store = Store::Open(options);
  EXPECT_FALSE(store->Find(unfinished));
  size_t journals = 0;
  for (const auto& entry : std::filesystem::directory_iterator(dir.path() / "root" / "journal"))
    journals += entry.path().filename() != "0";
  EXPECT_EQ(journals, 0u);
  // What is finished survives, and its history begins when it was.
  const std::string again = store->Begin(request);
  const Instant filled = [&] {
    const auto volume = store->OpenVolume(again);
    volume->Create({}, kRootIno, "f", S_IFREG | 0644);
    return volume->last_instant();
  }();
  store->Finish(again, "v");
  EXPECT_THROW(store->OpenAt("v", filled), std::system_error);
  store.reset();
  store = Store::Open(options);
  EXPECT_TRUE(store->OpenVolume("v")->Lookup(kRootIno, "f"));
  EXPECT_GT(store->Status("v").history_first, filled);
}

}  // namespace
}  // namespace rw::testing
