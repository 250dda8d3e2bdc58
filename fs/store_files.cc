#include "fs/store_files.h"

#include <errno.h>
#include <fcntl.h>
#include <spdlog/spdlog.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>
#include <random>

#include "fs/record.h"
#include "metadata/coding.h"
#include "metadata/refused.h"

namespace rw {
namespace {

using nlohmann::json;

constexpr const char* kSuperblockName = "store.json";
constexpr const char* kLockName = "lock";
constexpr const char* kMagic = "rewind";
constexpr uint64_t kBallastBytes = 32 << 20;
constexpr const char* kCopyName = "store.json.copy";
constexpr size_t kClockBytes = 8 + 1 + 4;  // in the first stores; then there is more
constexpr size_t kSequenceBytes = 8 + 4;

void WriteDurably(FileLayer* files, const std::filesystem::path& path, const std::string& bytes) {
  const std::filesystem::path temporary = path.string() + ".new";
  const auto file = files->Open(temporary, FileLayer::Mode::kCreate);
  const iovec part{const_cast<char*>(bytes.data()), bytes.size()};
  file->WriteAt({&part, 1}, 0);
  file->SyncData();
  files->Rename(temporary, path);
  files->SyncDirectory(path.parent_path());
}

uint32_t ChecksumOf(const Superblock& block) {
  std::string bytes(kMagic);
  PutFixed(&bytes, block.format);
  PutFixed(&bytes, block.name_seed);
  return FrameChecksum(bytes, 0, 0);
}

void WriteSuperblock(FileLayer* files, const std::filesystem::path& root, const Superblock& block) {
  const std::string text = json{{"magic", kMagic},
                                {"format", block.format},
                                {"name_seed", block.name_seed},
                                {"checksum", ChecksumOf(block)}}
                               .dump() +
                           "\n";
  WriteDurably(files, root / kCopyName, text);
  WriteDurably(files, root / kSuperblockName, text);
}

Superblock MakeStore(FileLayer* files, const std::filesystem::path& root) {
  std::filesystem::permissions(root, std::filesystem::perms::owner_all);  // all files are in it
  std::random_device random;
  Superblock block;
  block.name_seed = (uint64_t{random()} << 32 | random()) >> 1;
  WriteSuperblock(files, root, block);
  return block;
}

// What a file says; throws Refused(EIO) if that does not check out.
struct ReadBlock {
  Superblock block;
  bool checksummed = false;  // not so in the first stores
};
ReadBlock ReadSuperblock(const std::filesystem::path& path) {
  std::ifstream in(path);
  try {
    const json parsed = json::parse(in);
    ReadBlock read;
    if (parsed.at("magic") != kMagic) throw Refused(EIO, "damaged " + path.string());
    read.block.format = parsed.at("format");
    read.block.name_seed = parsed.at("name_seed");
    read.checksummed = parsed.contains("checksum");
    if (read.checksummed && parsed.at("checksum") != ChecksumOf(read.block))
      throw Refused(EIO, "damaged " + path.string() + ": its checksum does not match");
    return read;
  } catch (const json::exception& error) {
    throw Refused(EIO, "damaged " + path.string() + ": " + error.what());
  }
}

}  // namespace

void MakeDataRoot(FileLayer* files, const std::filesystem::path& root) {
  std::error_code error;
  if (std::filesystem::exists(root, error)) return;
  const std::filesystem::path parent = root.has_parent_path() ? root.parent_path() : ".";
  MakeDataRoot(files, parent);
  files->MakeDirectory(root);
  files->SyncDirectory(parent);
}

void CheckIsOurs(const std::filesystem::path& root) {
  if (std::filesystem::exists(root / kSuperblockName)) return;
  if (std::filesystem::exists(root / "journal") && std::filesystem::exists(root / kCopyName))
    return;
  for (const std::string& name : FileLayer::Posix()->List(root)) {
    // A crash while the store was made may have left these.
    if (name == kLockName || name == std::string(kSuperblockName) + ".new" || name == kCopyName ||
        name == std::string(kCopyName) + ".new" || name == "lost+found")
      continue;
    throw Refused(ENOTEMPTY, "data root " + root.string() + " is not rewind's: it has no " +
                                 kSuperblockName + " but holds " + name +
                                 "; give an empty directory");
  }
}

Superblock OpenSuperblock(FileLayer* files, const std::filesystem::path& root) {
  const bool first = std::filesystem::exists(root / kSuperblockName);
  const bool second = std::filesystem::exists(root / kCopyName);
  if (!first && (!second || !std::filesystem::exists(root / "journal")))
    return MakeStore(files, root);
  ReadBlock read;
  try {
    read = ReadSuperblock(root / kSuperblockName);
  } catch (const Refused& refused) {
    if (!second) throw;
    read = ReadSuperblock(root / kCopyName);
    if (!read.checksummed) throw;
    spdlog::error("{}; {} says the same and is sound", refused.what(), (root / kCopyName).string());
    read.checksummed = false;  // to be written again
  }
  if (read.block.format > kStoreFormat) {
    throw Refused(EPROTONOSUPPORT, "data root " + root.string() + " has format " +
                                       std::to_string(read.block.format) +
                                       "; this rewind reads formats up to " +
                                       std::to_string(kStoreFormat) + ": use a newer rewind");
  }
  bool copy_is_sound = false;
  try {
    copy_is_sound = second && ReadSuperblock(root / kCopyName).checksummed;
  } catch (const Refused&) {
  }
  if (!read.checksummed || !copy_is_sound) WriteSuperblock(files, root, read.block);
  return read.block;
}

void Ballast::Make() {
  std::error_code error;
  if (std::filesystem::exists(path_, error)) return;
  const auto disk = std::filesystem::space(path_.parent_path(), error);
  if (error) return;
  const uint64_t bytes = std::min<uint64_t>(kBallastBytes, disk.capacity / 50);
  if (disk.available < 2 * bytes) return;
  const int fd = open(path_.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (fd < 0) return;
  // Where it cannot be had it is done without.
  if (posix_fallocate(fd, 0, static_cast<off_t>(bytes)) != 0) unlink(path_.c_str());
  close(fd);
}

bool Ballast::Drop() { return unlink(path_.c_str()) == 0; }

RootLock::RootLock(const std::filesystem::path& root) {
  const std::filesystem::path path = root / kLockName;
  fd_ = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (fd_ < 0) throw Refused(errno, "cannot open " + path.string() + ": " + std::strerror(errno));
  if (flock(fd_, LOCK_EX | LOCK_NB) != 0) {
    close(fd_);
    throw Refused(EBUSY, "data root " + root.string() +
                             " is in use by another rewind daemon; stop that one first");
  }
}

RootLock::~RootLock() { close(fd_); }

std::optional<ClockFile::State> ClockFile::Read() const {
  std::ifstream in(path_, std::ios::binary);
  const std::string bytes(std::istreambuf_iterator<char>(in), {});
  const auto checks = [&](size_t length) {
    return GetFixed<uint32_t>(bytes.data() + length) ==
           FrameChecksum(std::string_view(bytes).substr(0, length), 0, 0);
  };
  if (bytes.size() < kClockBytes || !checks(kClockBytes - 4)) return std::nullopt;
  State state{Instant{GetFixed<uint64_t>(bytes.data())}, bytes[8] != 0, 0};
  if (bytes.size() == kClockBytes) return state;
  if (bytes.size() < kClockBytes + kSequenceBytes || !checks(kClockBytes + kSequenceBytes - 4))
    return std::nullopt;
  state.index_sequence = GetFixed<uint64_t>(bytes.data() + kClockBytes);
  return state;
}

void ClockFile::Write(State state) {
  std::string bytes;
  PutFixed<uint64_t>(&bytes, state.floor.ns);
  bytes.push_back(state.clean ? 1 : 0);
  PutFixed<uint32_t>(&bytes, FrameChecksum(bytes, 0, 0));
  PutFixed<uint64_t>(&bytes, state.index_sequence);
  PutFixed<uint32_t>(&bytes, FrameChecksum(bytes, 0, 0));
  const auto file = files_->Open(path_, std::filesystem::exists(path_) ? FileLayer::Mode::kReadWrite
                                                                       : FileLayer::Mode::kCreate);
  const iovec part{bytes.data(), bytes.size()};
  file->WriteAt({&part, 1}, 0);  // within one sector: old or new, never between
  file->SyncData();
}

}  // namespace rw
