#include "fs/session_request.h"

#include <errno.h>
#include <linux/fuse.h>
#include <unistd.h>

#include <cstring>

namespace rw {
namespace {

// What the headers of kernel 6.1 do not have yet.
constexpr uint64_t kHasResend = 1ULL << 39;
constexpr uint64_t kResentUnique = 1ULL << 63;
constexpr int kNotifyResend = 7;

template <typename T>
bool ReadAt(const void* bytes, size_t size, size_t offset, T* out) {
  if (size < offset + sizeof(T)) return false;
  std::memcpy(out, static_cast<const char*>(bytes) + offset, sizeof(T));
  return true;
}

// Drops the part of a setxattr request that libfuse does not expect between the fixed fields and
// the name.
void ShortenSetXattr(void* bytes, size_t* size, fuse_in_header header) {
  constexpr size_t kFrom = sizeof(header) + FUSE_COMPAT_SETXATTR_IN_SIZE;
  constexpr size_t kDropped = sizeof(fuse_setxattr_in) - FUSE_COMPAT_SETXATTR_IN_SIZE;
  auto* at = static_cast<char*>(bytes);
  std::memmove(at + kFrom, at + kFrom + kDropped, *size - kFrom - kDropped);
  *size -= kDropped;
  header.len = static_cast<uint32_t>(*size);
  std::memcpy(bytes, &header, sizeof(header));
}

}  // namespace

RawRequest TranslateRequest(void* bytes, size_t* size_in_out, uint32_t agreed) {
  const size_t size = *size_in_out;
  RawRequest request;
  fuse_in_header header;
  if (!ReadAt(bytes, size, 0, &header)) return request;
  request.opcode = header.opcode;
  request.unique = header.unique & ~kResentUnique;
  request.resent = (header.unique & kResentUnique) != 0;
  fuse_write_in write;
  fuse_setattr_in setattr;
  fuse_setxattr_in setxattr;
  if (header.opcode == FUSE_WRITE && ReadAt(bytes, size, sizeof(header), &write)) {
    request.kill_suid_sgid = (write.write_flags & FUSE_WRITE_KILL_SUIDGID) != 0;
    request.from_cache = (write.write_flags & FUSE_WRITE_CACHE) != 0;
  } else if (header.opcode == FUSE_SETATTR && ReadAt(bytes, size, sizeof(header), &setattr)) {
    request.kill_suid_sgid = (setattr.valid & FATTR_KILL_SUIDGID) != 0;
  } else if (header.opcode == FUSE_SETXATTR && (agreed & FUSE_SETXATTR_EXT) != 0 &&
             ReadAt(bytes, size, sizeof(header), &setxattr)) {
    request.kill_sgid = (setxattr.setxattr_flags & FUSE_SETXATTR_ACL_KILL_SGID) != 0;
    ShortenSetXattr(bytes, size_in_out, header);
  } else if (header.opcode == FUSE_TMPFILE) {
    request.unnamed = true;
    header.opcode = FUSE_CREATE;
    std::memcpy(bytes, &header, sizeof(header));
  }
  return request;
}

bool NeedsTranslation(const void* bytes, size_t size) {
  fuse_in_header header;
  return ReadAt(bytes, size, 0, &header) &&
         (header.opcode == FUSE_SETXATTR || header.opcode == FUSE_TMPFILE);
}

RawRequest& CurrentRequest() {
  static thread_local RawRequest request;
  return request;
}

void InitExchange::SawRequest(const void* bytes, size_t size) {
  fuse_in_header header;
  fuse_init_in init;
  if (!ReadAt(bytes, size, 0, &header) || header.opcode != FUSE_INIT) return;
  // Kernels before 7.36 send a shorter request; the flags are in its first part.
  std::memset(&init, 0, sizeof(init));
  const size_t body = size - sizeof(header);
  std::memcpy(&init, static_cast<const char*>(bytes) + sizeof(header),
              body < sizeof(init) ? body : sizeof(init));
  unique = header.unique;
  offered = init.flags;
  if ((init.flags & FUSE_INIT_EXT) != 0) offered |= uint64_t{init.flags2} << 32;
}

bool InitExchange::resends() const { return (offered & kHasResend) != 0; }

uint32_t InitExchange::EditReply(void* header, size_t header_size, void* body,
                                 size_t body_size) const {
  fuse_out_header out;
  if (unique == 0 || !ReadAt(header, header_size, 0, &out) || out.unique != unique ||
      out.error != 0)
    return 0;
  const auto add = [&](size_t offset, uint32_t flags) {
    uint32_t value;
    if (!ReadAt(body, body_size, offset, &value)) return uint32_t{0};
    value |= flags;
    std::memcpy(static_cast<char*>(body) + offset, &value, sizeof(value));
    return value;
  };
  uint32_t wanted = FUSE_HANDLE_KILLPRIV_V2 | FUSE_SETXATTR_EXT;
  if (resends() &&
      add(offsetof(fuse_init_out, flags2), static_cast<uint32_t>(kHasResend >> 32)) != 0)
    wanted |= FUSE_INIT_EXT;
  return add(offsetof(fuse_init_out, flags), static_cast<uint32_t>(offered) & wanted);
}

bool IsNewAndWaits(const void* bytes, size_t size) {
  fuse_in_header header;
  return ReadAt(bytes, size, 0, &header) && (header.unique & kResentUnique) == 0 &&
         header.opcode != FUSE_FORGET && header.opcode != FUSE_BATCH_FORGET &&
         header.opcode != FUSE_INTERRUPT;
}

bool AskToResend(int fd) {
  fuse_out_header message{};
  message.len = sizeof(message);
  message.error = kNotifyResend;
  return write(fd, &message, sizeof(message)) == sizeof(message);
}

bool KernelKnows(int fd, uint64_t node_id) {
  // That its attributes may be stale is harmless to say, and refused for an unknown inode.
  struct {
    fuse_out_header header;
    fuse_notify_inval_inode_out body;
  } message{};
  message.header.len = sizeof(message);
  message.header.error = FUSE_NOTIFY_INVAL_INODE;
  message.body.ino = node_id;
  message.body.off = -1;  // attributes only
  return write(fd, &message, sizeof(message)) >= 0 || errno != ENOENT;
}

}  // namespace rw
