#include "fs/store_files.h"

#include <errno.h>
#include <fcntl.h>
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
constexpr size_t kClockBytes = 8 + 1 + 4;

void WriteDurably(FileLayer* files, const std::filesystem::path& path, const std::string& bytes) {
  const std::filesystem::path temporary = path.string() + ".new";
  const auto file = files->Open(temporary, FileLayer::Mode::kCreate);
  const iovec part{const_cast<char*>(bytes.data()), bytes.size()};
  file->WriteAt({&part, 1}, 0);
  file->SyncData();
  files->Rename(temporary, path);
  files->SyncDirectory(path.parent_path());
}

Superblock MakeStore(FileLayer* files, const std::filesystem::path& root) {
  std::filesystem::permissions(root, std::filesystem::perms::owner_all);  // all files are in it
  std::random_device random;
  Superblock block;
  block.name_seed = (uint64_t{random()} << 32 | random()) >> 1;
  WriteDurably(
      files, root / kSuperblockName,
      json{{"magic", kMagic}, {"format", block.format}, {"name_seed", block.name_seed}}.dump() +
          "\n");
  return block;
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
  for (const std::string& name : FileLayer::Posix()->List(root)) {
    // A crash while the store was made may have left these.
    if (name == kLockName || name == std::string(kSuperblockName) + ".new" || name == "lost+found")
      continue;
    throw Refused(ENOTEMPTY, "data root " + root.string() + " is not rewind's: it has no " +
                                 kSuperblockName + " but holds " + name +
                                 "; give an empty directory");
  }
}

Superblock OpenSuperblock(FileLayer* files, const std::filesystem::path& root) {
  std::ifstream in(root / kSuperblockName);
  if (!in) return MakeStore(files, root);
  try {
    const json parsed = json::parse(in);
    if (parsed.at("magic") != kMagic)
      throw Refused(ENOTEMPTY, "data root " + root.string() + " is not rewind's");
    Superblock block;
    block.format = parsed.at("format");
    if (block.format > kStoreFormat) {
      throw Refused(EPROTONOSUPPORT, "data root " + root.string() + " has format " +
                                         std::to_string(block.format) +
                                         "; this rewind reads formats up to " +
                                         std::to_string(kStoreFormat) + ": use a newer rewind");
    }
    block.name_seed = parsed.at("name_seed");
    return block;
  } catch (const json::exception& error) {
    throw Refused(EIO, "damaged " + (root / kSuperblockName).string() + ": " + error.what());
  }
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
  std::string bytes(kClockBytes, '\0');
  if (!in.read(bytes.data(), static_cast<std::streamsize>(bytes.size()))) return std::nullopt;
  const std::string_view content = std::string_view(bytes).substr(0, kClockBytes - 4);
  if (GetFixed<uint32_t>(bytes.data() + content.size()) != FrameChecksum(content, 0, 0))
    return std::nullopt;
  return State{Instant{GetFixed<uint64_t>(bytes.data())}, bytes[8] != 0};
}

void ClockFile::Write(State state) {
  std::string bytes;
  PutFixed<uint64_t>(&bytes, state.floor.ns);
  bytes.push_back(state.clean ? 1 : 0);
  PutFixed<uint32_t>(&bytes, FrameChecksum(bytes, 0, 0));
  const auto file = files_->Open(path_, std::filesystem::exists(path_) ? FileLayer::Mode::kReadWrite
                                                                       : FileLayer::Mode::kCreate);
  const iovec part{bytes.data(), bytes.size()};
  file->WriteAt({&part, 1}, 0);  // within one sector: old or new, never between
  file->SyncData();
}

}  // namespace rw
