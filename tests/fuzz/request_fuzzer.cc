// Goal: whatever body an endpoint is sent, it answers with a JSON object that has an "Err", in
// bounded time and words. Method: the endpoints over a store of their own, which is emptied again;
// mounting is refused, because it is the kernel's work.
#include <spdlog/spdlog.h>

#include <nlohmann/json.hpp>

#include "fs/store.h"
#include "plugin/endpoints.h"
#include "plugin/volumes.h"
#include "tests/fuzz/fuzz.h"
#include "tests/support/temp_dir.h"

namespace rw::fuzz {
namespace {

constexpr size_t kMaxErrBytes = 64 << 10;  // texts of the request may be quoted in it

class Endpoints {
 public:
  Endpoints() {
    spdlog::set_level(spdlog::level::off);
    StoreOptions store_options;
    store_options.root = dir_.path() / "root";
    store_ = Store::Open(std::move(store_options));
    VolumesOptions options;
    options.mounts = dir_.path() / "mounts";
    options.mount = [](std::shared_ptr<Volume>, SessionOptions) -> std::unique_ptr<Session> {
      throw Refused(EPERM, "nothing is mounted here");
    };
    volumes_ = std::make_unique<Volumes>(*store_, std::move(options));
    std::erase(names_, "Rewind.MakeIndexAgain");  // which ends the process
  }

  // The first line names the endpoint, by its number if it is none; the rest is the body.
  void Run(std::string_view bytes) {
    const size_t end = std::min(bytes.find('\n'), bytes.size());
    std::string endpoint(bytes.substr(0, end));
    const std::string body(bytes.substr(std::min(end + 1, bytes.size())));
    if (std::find(names_.begin(), names_.end(), endpoint) == names_.end())
      endpoint = names_[(endpoint.empty() ? 0 : endpoint[0] & 0xff) % names_.size()];
    const auto answer = Answer(endpoint, body, [this]() -> Volumes& { return *volumes_; });
    Expect(answer.has_value(), "every endpoint answers");
    const nlohmann::json json = nlohmann::json::parse(*answer, nullptr, false);
    Expect(json.is_object() && json.contains("Err") && json["Err"].is_string(), "an Err");
    Expect(json["Err"].get_ref<const std::string&>().size() <= kMaxErrBytes, "few words");
    for (const VolumeRecord& record : store_->List()) {
      const std::string name = record.name;
      store_->Remove(name);
    }
    for (const RemovedVolume& removed : store_->ListRemoved())
      AllowRefusal([&] { store_->Purge(removed.record.name); });
  }

 private:
  testing::TempDir dir_;
  std::unique_ptr<Store> store_;
  std::unique_ptr<Volumes> volumes_;
  std::vector<std::string> names_ = EndpointNames();
};

}  // namespace
}  // namespace rw::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static rw::fuzz::Endpoints endpoints;
  endpoints.Run(rw::fuzz::View(data, size));
  return 0;
}
