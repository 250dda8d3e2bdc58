#include "tests/support/contents_worker.h"

#include <fcntl.h>
#include <linux/falloc.h>

#include <algorithm>
#include <sstream>
#include <string_view>

namespace rw::testing {
namespace {

constexpr uint64_t kSector = 512;  // what O_DIRECT works in
constexpr uint64_t kPage = 4096;
constexpr uint64_t kChunk = 128 * 1024;  // what the product keeps track of files by
constexpr size_t kLogged = 50;

const char* WayName(ShadowedFile::Way way) {
  switch (way) {
    case ShadowedFile::Way::kPlain:
      return "";
    case ShadowedFile::Way::kDirect:
      return " direct";
    case ShadowedFile::Way::kMapping:
      return " mapped";
    case ShadowedFile::Way::kFreshMapping:
      return " freshly mapped";
  }
  return "?";
}

}  // namespace

size_t HashOfContents(std::string_view bytes) { return std::hash<std::string_view>()(bytes); }

std::string ContentsState::Text() const {
  std::ostringstream out;
  for (size_t i = 0; i < sizes.size(); ++i) out << sizes[i] << ' ' << hashes[i] << ' ';
  return out.str();
}

ContentsState ContentsState::Parse(const std::string& text) {
  ContentsState state;
  std::istringstream in(text);
  for (size_t i = 0; i < state.sizes.size(); ++i) in >> state.sizes[i] >> state.hashes[i];
  return state;
}

ContentsWorker::ContentsWorker(uint64_t seed, uint64_t max_bytes)
    : max_bytes_((max_bytes + kPage - 1) / kPage * kPage), random_(seed) {
  for (auto& file : files_) file = std::make_unique<ShadowedFile>(max_bytes_);
}

std::string ContentsWorker::Open(const std::string& directory) {
  directory_ = directory;
  for (number_ = 0; number_ < files_.size(); ++number_) {
    std::string problem = files_[number_]->Open(directory + "/" + kContentsFiles[number_]);
    if (!problem.empty()) return problem;
  }
  return {};
}

void ContentsWorker::Close() {
  for (auto& file : files_) file->Close();
}

std::string ContentsWorker::Sync() {
  for (auto& file : files_) {
    if (std::string problem = file->Sync(false); !problem.empty()) return problem;
  }
  return {};
}

ContentsState ContentsWorker::state() const {
  ContentsState state;
  for (size_t i = 0; i < files_.size(); ++i) {
    state.sizes[i] = files_[i]->size();
    state.hashes[i] = HashOfContents(files_[i]->shadow());
  }
  return state;
}

std::string ContentsWorker::Log() const {
  std::string text;
  for (const std::string& line : log_) text += "  " + line + "\n";
  return text;
}

void ContentsWorker::Note(const std::string& what, uint64_t offset, uint64_t length) {
  if (log_.size() == kLogged) log_.pop_front();
  log_.push_back(std::to_string(steps_) + " " + kContentsFiles.at(number_) + " (" +
                 std::to_string(files_.at(number_)->size()) + "): " + what + " " +
                 std::to_string(offset) + " +" + std::to_string(length));
}

uint64_t ContentsWorker::DrawOffset(uint64_t size) {
  const uint64_t draw = random_.Below(100);
  uint64_t offset = random_.Below(max_bytes_);
  if (draw < 40) offset = random_.Below(size + 1);
  if (draw >= 40 && draw < 60) offset = kPage * random_.Below(max_bytes_ / kPage);
  if (draw >= 60 && draw < 75) offset = size - std::min(size, random_.Below(kPage));
  if (draw >= 75 && draw < 85 && max_bytes_ > kChunk)
    offset = kChunk * (1 + random_.Below(max_bytes_ / kChunk)) - random_.Below(2 * kPage);
  return std::min(offset, max_bytes_ - 1);
}

uint64_t ContentsWorker::DrawLength() {
  const uint64_t draw = random_.Below(100);
  if (draw < 60) return 1 + random_.Below(3000);
  if (draw < 80) return kPage * (1 + random_.Below(4));
  if (draw < 97) return 1 + random_.Below(std::min<uint64_t>(40'000, max_bytes_));
  return 1 + random_.Below(max_bytes_);
}

ShadowedFile::Way ContentsWorker::DrawWay(const ShadowedFile& file, uint64_t* offset,
                                          uint64_t* length, bool write) {
  const uint64_t draw = random_.Below(100);
  if (draw >= 60 && file.size() > 0) {
    *offset = std::min(*offset, file.size() - 1);
    *length = std::min(*length, file.size() - *offset);
    return draw < 85 ? Way::kMapping : Way::kFreshMapping;
  }
  if (draw >= 45) {
    *offset = *offset / kSector * kSector;
    *length = (*length + kSector - 1) / kSector * kSector;
    if (write && *offset + *length > max_bytes_) *length = kSector;
    return Way::kDirect;
  }
  return Way::kPlain;
}

std::string ContentsWorker::Read(ShadowedFile& file) {
  uint64_t offset = DrawOffset(file.size());
  uint64_t length = DrawLength();
  const Way way = DrawWay(file, &offset, &length, false);
  Note(std::string("read") + WayName(way), offset, length);
  return file.Read(way, offset, length);
}

std::string ContentsWorker::Write(ShadowedFile& file) {
  uint64_t offset = DrawOffset(file.size());
  uint64_t length = std::min(DrawLength(), max_bytes_ - offset);
  if (random_.OneIn(8)) {
    length = std::min(length, max_bytes_ - file.size());
    if (length == 0) return {};
    Note("append", file.size(), length);
    return file.Append(random_.Bytes(length));
  }
  const Way way = DrawWay(file, &offset, &length, true);
  Note(std::string("write") + WayName(way), offset, length);
  const bool zeros = random_.OneIn(15);
  return file.Write(way, offset, zeros ? std::string(length, '\0') : random_.Bytes(length),
                    random_.OneIn(3));
}

std::string ContentsWorker::Truncate(ShadowedFile& file) {
  uint64_t size = DrawOffset(file.size());
  if (random_.OneIn(20)) size = 0;
  if (random_.OneIn(3)) size = file.size() - std::min(file.size(), random_.Below(2000));
  Note("truncate", size, 0);
  return file.Truncate(size, random_.OneIn(3));
}

std::string ContentsWorker::Fallocate(ShadowedFile& file) {
  const int modes[] = {0,
                       FALLOC_FL_KEEP_SIZE,
                       FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                       FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                       FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                       FALLOC_FL_ZERO_RANGE,
                       FALLOC_FL_ZERO_RANGE,
                       FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE,
                       FALLOC_FL_COLLAPSE_RANGE,
                       FALLOC_FL_INSERT_RANGE};
  const int mode = random_.Pick(modes);
  const uint64_t offset = DrawOffset(file.size());
  const uint64_t length = std::min(DrawLength(), max_bytes_ - offset);
  Note("fallocate mode " + std::to_string(mode), offset, length);
  return file.Fallocate(mode, offset, length);
}

std::string ContentsWorker::Copy(ShadowedFile& file) {
  const ShadowedFile& source = random_.OneIn(2) ? file : *files_[1 - number_];
  const uint64_t from = DrawOffset(source.size());
  const uint64_t to = DrawOffset(file.size());
  const uint64_t length = std::min(DrawLength(), max_bytes_ - to);
  Note(std::string("copy from ") + (&source == &file ? "itself " : "the other ") +
           std::to_string(from) + " to",
       to, length);
  return file.CopyFrom(source, from, to, length);
}

std::string ContentsWorker::Reopen() {
  Close();
  return Open(directory_);
}

std::string ContentsWorker::Operate() {
  ShadowedFile& file = *files_[number_];
  const uint64_t draw = random_.Below(1000);
  if (draw < 320) return Read(file);
  if (draw < 700) return Write(file);
  if (draw < 780) return Truncate(file);
  if (draw < 880) return Fallocate(file);
  if (draw < 960) return Copy(file);
  Note("sync, drop, reopen or check, by chance", draw, 0);
  if (draw < 970) return file.Sync(random_.OneIn(2));
  if (draw < 985) return file.DropCache();
  if (draw < 992) return file.CheckHoles();
  if (draw < 996) return file.CheckWhole();
  return Reopen();
}

std::string ContentsWorker::Step() {
  ++steps_;
  number_ = random_.Below(files_.size());
  std::string problem = Operate();
  for (number_ = 0; number_ < files_.size() && problem.empty(); ++number_) {
    problem = files_[number_]->CheckSize();
  }
  return problem;
}

}  // namespace rw::testing
