#include "plugin/archive_writer.h"

#include <archive.h>
#include <archive_entry.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <algorithm>
#include <cerrno>
#include <exception>
#include <nlohmann/json.hpp>

#include "fs/acl.h"
#include "metadata/refused.h"
#include "plugin/archive_acl.h"

namespace rw {
namespace {

// Zeros without memory: libarchive wants to be shown the bytes of holes, too, and then leaves them
// out.
constexpr size_t kZeroBytes = size_t{1} << 30;
const char* Zeros() {
  static const void* const zeros =
      mmap(nullptr, kZeroBytes, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (zeros == MAP_FAILED) throw std::bad_alloc();
  return static_cast<const char*>(zeros);
}

bool IsUtf8(const std::string& text) {
  return nlohmann::json(text).dump(-1, ' ', false, nlohmann::json::error_handler_t::ignore) ==
         nlohmann::json(text).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

}  // namespace

ArchiveWriter::ArchiveWriter(std::function<void(std::string_view)> out)
    : out_(std::move(out)), archive_(archive_write_new()), entry_(archive_entry_new()) {
  if (archive_ == nullptr || entry_ == nullptr) throw std::bad_alloc();
  Check(archive_write_set_format_pax(archive_));
  Check(archive_write_set_bytes_per_block(archive_, 64 << 10));
  Check(archive_write_set_bytes_in_last_block(archive_, 10240));  // as tar does
  Check(archive_write_open(
      archive_, this, nullptr,
      [](archive*, void* self, const void* bytes, size_t size) -> la_ssize_t {
        auto* writer = static_cast<ArchiveWriter*>(self);
        if (writer->given_up_) return -1;
        try {
          writer->out_({static_cast<const char*>(bytes), size});
          return static_cast<la_ssize_t>(size);
        } catch (...) {
          writer->thrown_ = std::current_exception();
          return -1;
        }
      },
      nullptr));
}

ArchiveWriter::~ArchiveWriter() {
  given_up_ = true;  // else it would write an end. (archive_write_fail would leak its buffers.)
  archive_entry_free(entry_);
  archive_write_free(archive_);
}

void ArchiveWriter::Check(int result) {
  if (thrown_) std::rethrow_exception(thrown_);
  if (result == ARCHIVE_OK) return;
  const char* why = archive_error_string(archive_);
  throw Refused(EIO, std::string("libarchive: ") + (why != nullptr ? why : "failed"));
}

void ArchiveWriter::Take(const Frame& frame) {
  switch (frame.kind) {
    case FrameKind::kNode:
      EndNode();
      return TakeNode(frame.payload);
    case FrameKind::kLink:
      EndNode();
      return TakeLink(frame.payload);
    case FrameKind::kXattr:
      return TakeXattr(frame.payload);
    case FrameKind::kRanges: {
      const std::vector<Range> more = DecodeRanges(frame.payload);
      ranges_.insert(ranges_.end(), more.begin(), more.end());
      return;
    }
    case FrameKind::kData:
      return TakeData(frame.payload);
    default:
      throw Refused(EPROTO, "a frame that has no place here");
  }
}

void ArchiveWriter::Finish() {
  EndNode();
  Check(archive_write_close(archive_));
}

// Names are bytes. Of those that are not UTF-8 libarchive says so, and so does the archive.
void ArchiveWriter::WriteEntry(bool is_utf8) {
  const int result = archive_write_header(archive_, entry_);
  Check(result == ARCHIVE_WARN && !is_utf8 ? ARCHIVE_OK : result);
}

void ArchiveWriter::TakeNode(std::string_view payload) {
  const StreamNode node = DecodeNode(payload);
  is_utf8_ = IsUtf8(node.path) && IsUtf8(node.target);
  archive_entry_clear(entry_);
  archive_entry_copy_pathname(entry_, node.path.empty() ? "." : node.path.c_str());
  archive_entry_set_mode(entry_, node.mode);
  archive_entry_set_uid(entry_, node.uid);
  archive_entry_set_gid(entry_, node.gid);
  archive_entry_set_mtime(entry_, node.mtime.seconds, static_cast<long>(node.mtime.nanoseconds));
  archive_entry_set_atime(entry_, node.atime.seconds, static_cast<long>(node.atime.nanoseconds));
  if (S_ISLNK(node.mode)) archive_entry_copy_symlink(entry_, node.target.c_str());
  if (S_ISCHR(node.mode) || S_ISBLK(node.mode)) {
    archive_entry_set_rdevmajor(entry_, major(node.rdev));
    archive_entry_set_rdevminor(entry_, minor(node.rdev));
  }
  size_ = S_ISREG(node.mode) ? node.size : 0;
  archive_entry_set_size(entry_, static_cast<la_int64_t>(size_));
  position_ = 0;
  ranges_.clear();
  if (node.ino != 0) paths_[node.ino] = node.path;
  state_ = State::kNode;
}

void ArchiveWriter::TakeXattr(std::string_view payload) {
  if (state_ != State::kNode) throw Refused(EPROTO, "an xattr of nothing");
  const auto [name, value] = DecodeXattr(payload);
  if (name == kAccessAcl || name == kDefaultAcl) {
    AddAcl(entry_, value, name == kDefaultAcl);
  } else {
    archive_entry_xattr_add_entry(entry_, std::string(name).c_str(), value.data(), value.size());
  }
}

void ArchiveWriter::WriteHeader() {
  const bool whole = ranges_.size() == 1 && ranges_[0] == Range(0, size_);
  if (size_ > 0 && !whole) {
    for (const auto& [offset, length] : ranges_) {
      archive_entry_sparse_add_entry(entry_, static_cast<la_int64_t>(offset),
                                     static_cast<la_int64_t>(length));
    }
    if (ranges_.empty()) archive_entry_sparse_add_entry(entry_, static_cast<la_int64_t>(size_), 0);
  }
  WriteEntry(is_utf8_);
  state_ = State::kContents;
}

void ArchiveWriter::WriteZeros(uint64_t until) {
  while (position_ < until) {
    const size_t count = std::min<uint64_t>(until - position_, kZeroBytes);
    const la_ssize_t written = archive_write_data(archive_, Zeros(), count);
    if (written <= 0) Check(ARCHIVE_FATAL);
    position_ += static_cast<uint64_t>(written);
  }
}

void ArchiveWriter::TakeData(std::string_view payload) {
  if (state_ == State::kNone) throw Refused(EPROTO, "contents of nothing");
  if (state_ == State::kNode) WriteHeader();
  auto [offset, data] = DecodeData(payload);
  if (offset < position_ || data.size() > size_ - std::min(offset, size_))
    throw Refused(EPROTO, "contents in no order");
  WriteZeros(offset);
  while (!data.empty()) {
    const la_ssize_t written = archive_write_data(archive_, data.data(), data.size());
    if (written <= 0) Check(ARCHIVE_FATAL);
    position_ += static_cast<uint64_t>(written);
    data.remove_prefix(static_cast<size_t>(written));
  }
}

void ArchiveWriter::EndNode() {
  if (state_ == State::kNone) return;
  if (state_ == State::kNode) WriteHeader();
  WriteZeros(size_);
  Check(archive_write_finish_entry(archive_));
  state_ = State::kNone;
}

void ArchiveWriter::TakeLink(std::string_view payload) {
  const StreamLink link = DecodeLink(payload);
  const auto target = paths_.find(link.ino);
  if (target == paths_.end()) throw Refused(EPROTO, "a link to what was not there before it");
  archive_entry_clear(entry_);
  archive_entry_copy_pathname(entry_, link.path.c_str());
  archive_entry_set_mode(entry_, S_IFREG);
  archive_entry_copy_hardlink(entry_, target->second.c_str());
  archive_entry_set_size(entry_, 0);
  WriteEntry(IsUtf8(link.path) && IsUtf8(target->second));
  Check(archive_write_finish_entry(archive_));
}

}  // namespace rw
