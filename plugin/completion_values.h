// What completion offers where a volume, a mark or a volume's option is meant. What is asked of the
// daemon is asked briefly: nobody waits for a daemon that does not answer.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace rw {

struct Candidate {
  std::string text;
  std::string meaning;  // one line, or empty
};
using Candidates = std::vector<Candidate>;

// What the daemon has for an answer: a second, or REWIND_COMPLETION_SECONDS of the environment.
int CompletionSeconds();

// The volumes, or those that were removed. Throws Refused as Ask does.
Candidates VolumeCandidates(const std::filesystem::path& socket);
Candidates RemovedVolumeCandidates(const std::filesystem::path& socket);

// The marks of a volume, the newest first. Throws Refused as Ask does.
Candidates MarkCandidates(const std::filesystem::path& socket, const std::string& volume);

// `key=` for each option that a volume can be made with, except those in `given`.
Candidates VolumeOptionCandidates(const std::vector<std::string>& given);
// The same of what `rewind set` can change, or only of what a dry run can try.
Candidates SettingCandidates(bool retention_only, const std::vector<std::string>& given);

}  // namespace rw
