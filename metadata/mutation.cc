#include "metadata/mutation.h"

#include "metadata/coding.h"
#include "metadata/find_writer.h"

namespace rw {
namespace {

// Stored on disk: never renumber.
enum Tag : uint8_t {
  kInodePut = 1,
  kInodeEnd = 2,
  kNamePut = 3,
  kNameEnd = 4,
  kChunkPut = 5,
  kXattrPut = 6,
  kXattrEnd = 7,
  kCatalogPut = 8,
  kCatalogEnd = 9,
  kInodeAdopted = 10,
  kOwner = 11,
  kWriter = 12,
  kHolder = 13,
  kBringsBack = 14,
  kRestored = 15,
};

void PutTag(std::string* out, Tag tag) { out->push_back(static_cast<char>(tag)); }

}  // namespace

std::string RestoreNote::Encode() const {
  std::string out;
  PutVarint(&out, source.ns);
  PutVarint(&out, undoes ? undoes->ns : 0);
  PutVarint(&out, places.size());
  for (const Place& place : places) {
    PutBytes(&out, place.path);
    PutVarint(&out, place.parent);
    PutBytes(&out, place.name);
    PutVarint(&out, place.displaced);
  }
  return out;
}

RestoreNote RestoreNote::Decode(std::string_view bytes) {
  Decoder in(bytes);
  RestoreNote note;
  note.source.ns = in.Varint();
  if (const uint64_t undoes = in.Varint(); undoes != 0) note.undoes = Instant{undoes};
  for (uint64_t left = in.Varint(); left > 0; --left) {
    Place& place = note.places.emplace_back();
    place.path = in.Bytes();
    place.parent = in.Varint();
    place.name = in.Bytes();
    place.displaced = in.Varint();
  }
  in.ExpectEnd();
  return note;
}

void Mutations::Encode(std::string* out, Instant at, TimelineId own) const {
  for (const InodeMutation& m : inodes) {
    PutTag(out, m.inode ? kInodePut : kInodeEnd);
    PutVarint(out, m.ino);
    if (m.inode) PutBytes(out, m.inode->Encode(at));
  }
  for (const Ino ino : adopted) {
    PutTag(out, kInodeAdopted);
    PutVarint(out, ino);
  }
  for (const NameMutation& m : names) {
    PutTag(out, m.ino != 0 ? kNamePut : kNameEnd);
    PutVarint(out, m.parent);
    PutBytes(out, m.name);
    if (m.ino != 0) {
      PutVarint(out, m.ino);
      PutVarint(out, m.type);
    }
  }
  for (const ChunkMutation& m : chunks) {
    PutTag(out, kChunkPut);
    PutVarint(out, m.ino);
    PutVarint(out, m.chunk);
    PutBytes(out, m.version.Encode(own));
  }
  for (const XattrMutation& m : xattrs) {
    PutTag(out, m.value ? kXattrPut : kXattrEnd);
    PutVarint(out, m.ino);
    PutBytes(out, m.name);
    if (m.value) PutBytes(out, *m.value);
  }
  if (bring_back) PutTag(out, kBringsBack);
  if (restored) {
    PutTag(out, kRestored);
    PutBytes(out, restored->Encode());
  }
  if (owner) {
    PutTag(out, kOwner);
    PutVarint(out, owner->timeline);
    PutVarint(out, owner->ino);
    PutVarint(out, owner->chunk);
    PutVarint(out, owner->at.ns);
  }
  if (writer) {
    PutTag(out, kWriter);
    PutVarint(out, writer->thread);
    PutVarint(out, writer->process);
    PutVarint(out, writer->started_seconds);
    PutBytes(out, writer->command);
    PutBytes(out, writer->container);
  }
  if (!holder.empty()) {
    PutTag(out, kHolder);
    PutBytes(out, holder);
  }
  for (const CatalogMutation& m : catalog) {
    PutTag(out, m.value ? kCatalogPut : kCatalogEnd);
    PutBytes(out, m.key);
    if (m.value) PutBytes(out, *m.value);
  }
}

Mutations Mutations::Decode(std::string_view bytes, Instant at, TimelineId own) {
  Mutations out;
  Decoder in(bytes);
  while (!in.empty()) {
    const auto tag = static_cast<Tag>(in.Take(1).front());
    switch (tag) {
      case kInodePut:
      case kInodeEnd: {
        InodeMutation& m = out.inodes.emplace_back();
        m.ino = in.Varint();
        if (tag == kInodePut) m.inode = Inode::Decode(in.Bytes(), at);
        break;
      }
      case kInodeAdopted:
        out.adopted.push_back(in.Varint());
        break;
      case kNamePut:
      case kNameEnd: {
        NameMutation& m = out.names.emplace_back();
        m.parent = in.Varint();
        m.name = in.Bytes();
        if (tag == kNamePut) {
          m.ino = in.Varint();
          m.type = in.Number<uint32_t>();
          if (m.ino == 0) Decoder::Fail();
        }
        break;
      }
      case kChunkPut: {
        ChunkMutation& m = out.chunks.emplace_back();
        m.ino = in.Varint();
        m.chunk = in.Varint();
        m.version = ChunkVersion::Decode(in.Bytes(), own);
        break;
      }
      case kXattrPut:
      case kXattrEnd: {
        XattrMutation& m = out.xattrs.emplace_back();
        m.ino = in.Varint();
        m.name = in.Bytes();
        if (tag == kXattrPut) m.value = in.Bytes();
        break;
      }
      case kBringsBack:
        out.bring_back = true;
        break;
      case kRestored:
        out.restored = RestoreNote::Decode(in.Bytes());
        break;
      case kOwner: {
        ChunkVersionKey& m = out.owner.emplace();
        m.timeline = in.Number<TimelineId>();
        m.ino = in.Varint();
        m.chunk = in.Varint();
        m.at.ns = in.Varint();
        break;
      }
      case kWriter: {
        auto writer = std::make_shared<Writer>();
        writer->thread = in.Number<uint32_t>();
        writer->process = in.Number<uint32_t>();
        writer->started_seconds = in.Varint();
        writer->command = in.Bytes();
        writer->container = in.Bytes();
        out.writer = std::move(writer);
        break;
      }
      case kHolder:
        out.holder = in.Bytes();
        break;
      case kCatalogPut:
      case kCatalogEnd: {
        CatalogMutation& m = out.catalog.emplace_back();
        m.key = in.Bytes();
        if (tag == kCatalogPut) m.value = in.Bytes();
        break;
      }
      default:
        Decoder::Fail();
    }
  }
  return out;
}

std::shared_ptr<const Writer> FindWriter(std::string_view mutations, Instant at, TimelineId own) {
  Decoder in(mutations);
  while (!in.empty()) {
    const std::string_view rest = in.rest();
    switch (static_cast<Tag>(in.Take(1).front())) {
      case kInodePut:
        in.Varint();
        in.Bytes();
        break;
      case kChunkPut:
        in.Varint();
        in.Varint();
        in.Bytes();
        break;
      default:  // the others are few, and so is what they come with
        return Mutations::Decode(rest, at, own).writer;
    }
  }
  return nullptr;
}

void Mutations::Resolve(TimelineId own, uint32_t segment, uint32_t first_frame_position) {
  for (ChunkMutation& m : chunks) {
    ResolveExtents(&m.version.extents, own, segment, first_frame_position);
  }
}

}  // namespace rw
