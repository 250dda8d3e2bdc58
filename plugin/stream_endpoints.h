// `Rewind.Export` and `Rewind.Import`: what does not fit into one answer, or one request.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace rw {

class Volume;
class Volumes;

// The import's name and options, as JSON: its body is the tree.
inline constexpr char kImportRequestHeader[] = "Rewind-Request";

// Does it; what is refused or goes wrong becomes one line in the log, and the answer that is
// returned. "" if it was done.
std::string Guarded(const std::string& endpoint, const std::function<void()>& work);

// A view of a volume on its way out. The view is open for as long as this is.
class ExportStream {
 public:
  // `body`: Name, and At. Throws Refused as Volumes::View does.
  ExportStream(Volumes& volumes, const std::string& body);

  // Passes everything on, piece by piece. What goes wrong is the stream's last frame, which the
  // receiver must look for. False if `take` said so: nobody receives.
  bool Send(const std::function<bool(std::string_view)>& take);

 private:
  std::string name_;
  std::shared_ptr<Volume> view_;
};

// Makes a volume of what `read` passes on, and returns the answer. `request`: Name, and Opts.
// `read` is false if it ended early; it ends when it is told false. `place` is held meanwhile.
std::string AnswerImport(
    const std::string& request, const std::function<std::shared_ptr<void>()>& place,
    const std::function<Volumes&()>& volumes,
    const std::function<bool(const std::function<bool(std::string_view)>&)>& read);

}  // namespace rw
