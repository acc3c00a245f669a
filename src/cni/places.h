// Where plugin and agent meet: one folder of the agent's (`ocicat agent --cni-dir`), which a network
// configuration names by `agent_dir` where it is another.
#pragma once

#include <filesystem>
#include <string_view>

namespace ocicat::cni {

inline constexpr std::string_view kFolderKey = "agent_dir";
inline constexpr std::string_view kFolder = "/var/lib/ocicat/cni";

// In the folder: the agent's socket; an attachment a file, the agent's own; calls to DEL that found no agent,
// a Message a file, which the agent carries out when it starts.
inline constexpr std::string_view kSocket = "agent.sock";
inline constexpr std::string_view kAttachments = "attachments";
inline constexpr std::string_view kDeletes = "deletes";
// The endings of an attachment's file: as it says itself; whatever it says, nobody wants it, which a new name tells where
// the disk takes no new text.
inline constexpr std::string_view kNoted = ".json";
inline constexpr std::string_view kUnwanted = ".unwanted";

// A second folder on memory, for what is to be taken back where the first takes nothing, as on a disk that is read-only or
// broken: calls as there, and attachments that are unwanted. It is below kMemory by the first one's whole path, and made
// when it is needed. What is in it was noted last.
inline constexpr std::string_view kMemory = "/run/ocicat/cni";
std::filesystem::path memory_of(const std::filesystem::path& folder);

// What is asked of the agent, by POST with a Message; answered with 200 and what goes to standard output, or
// with 500 and the error object.
inline constexpr std::string_view kTarget = "/cni";

}  // namespace ocicat::cni
