#include "cni/service/journal.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <boost/json.hpp>
#include <cerrno>
#include <cstdio>
#include <tuple>

#include "base/unique_fd.h"
#include "base/whole_file.h"

namespace ocicat::cni {
namespace {

using Phase = Attachment::Phase;

// A file system that takes nothing refuses also where there is none.
Result<void> remove_file(const std::filesystem::path& file) {
  if (::unlink(file.c_str()) == 0 || errno == ENOENT) return {};
  const int error = errno;
  if (::access(file.c_str(), F_OK) != 0 && errno == ENOENT) return {};
  return fail_errno(fmt::format("remove {}", file.string()), error);
}

}  // namespace

Result<std::unique_ptr<Journal>> Journal::open(const std::filesystem::path& folder,
                                               std::vector<std::string>& unreadable) {
  std::unique_ptr<Journal> journal(new Journal(folder));
  for (const auto part : {kAttachments, kDeletes}) {
    std::error_code failed;
    std::filesystem::create_directories(folder / part, failed);
    if (failed) return fail_errno(fmt::format("create {}", (folder / part).string()), failed.value());
  }
  ::chmod(folder.c_str(), 0700);
  TRY_VOID(journal->read(folder, unreadable));
  TRY_VOID(journal->read(journal->memory_, unreadable));
  return journal;
}

Result<void> Journal::read(const std::filesystem::path& folder, std::vector<std::string>& unreadable) {
  std::error_code failed;
  for (const auto& entry : std::filesystem::directory_iterator(folder / kAttachments, failed)) {
    const auto ending = entry.path().extension();
    if (ending != kNoted && ending != kUnwanted) continue;  // half of a write that was cut short
    auto attachment = read_attachment(read_whole(entry.path()));
    if (!attachment) {
      unreadable.push_back(fmt::format("{}: {}", entry.path().string(), attachment.error().message));
      continue;
    }
    auto name = attachment->name();
    if (ending == kUnwanted) attachment->phase = Phase::kDeleting;
    // What was noted last counts: on memory, and in the folder since the other got its name.
    if (ending == kNoted || folder == memory_) {
      attachments_.insert_or_assign(std::move(name), *std::move(attachment));
    } else {
      attachments_.try_emplace(std::move(name), *std::move(attachment));
    }
  }
  if (failed && failed != std::errc::no_such_file_or_directory)
    return fail_errno(fmt::format("read {}", folder.string()), failed.value());
  return {};
}

std::filesystem::path Journal::file_of(const std::string& name, std::string_view ending) const {
  return folder_ / kAttachments / (name + std::string(ending));
}

std::filesystem::path Journal::file_on_memory(const std::string& name) const {
  return memory_ / kAttachments / (name + std::string(kUnwanted));
}

std::optional<Attachment> Journal::find(const std::string& name) const {
  const std::scoped_lock lock(mutex_);
  const auto at = attachments_.find(name);
  return at == attachments_.end() ? std::nullopt : std::optional(at->second);
}

std::vector<Attachment> Journal::all() const {
  const std::scoped_lock lock(mutex_);
  std::vector<Attachment> all;
  all.reserve(attachments_.size());
  for (const auto& [name, attachment] : attachments_) all.push_back(attachment);
  return all;
}

bool Journal::has_rival(const Attachment& attachment) const {
  const std::scoped_lock lock(mutex_);
  return std::ranges::any_of(attachments_, [&](const auto& entry) {
    return entry.second.host_interface == attachment.host_interface && entry.first != attachment.name() &&
           entry.second.phase != Phase::kDeleting;
  });
}

std::optional<Attachment> Journal::holder_of(const IpAddress& address, const std::string& name) const {
  const std::scoped_lock lock(mutex_);
  for (const auto& [other, attachment] : attachments_) {
    const auto& held = attachment.addresses;
    if (other != name && std::ranges::find(held, address) != held.end()) return attachment;
  }
  return std::nullopt;
}

Result<void> Journal::write(const Attachment& attachment, bool durable) {
  const auto name = attachment.name();
  TRY_VOID(write_whole(file_of(name, kNoted).string(), boost::json::serialize(to_json(attachment)), durable));
  const std::scoped_lock lock(mutex_);
  attachments_.insert_or_assign(name, attachment);
  return {};
}

Result<void> Journal::write_first(const Attachment& attachment) {
  TRY_VOID(write(attachment, true));
  const auto call = attachment.name() + std::string(kNoted);
  for (const auto& folder : {folder_, memory_}) TRY_VOID(remove_file(folder / kDeletes / call));
  return {};
}

Result<void> Journal::write_unwanted(Attachment attachment) {
  attachment.phase = Phase::kDeleting;
  const auto written = write(attachment, true);
  if (written) return {};
  const auto name = attachment.name();
  const auto known = find(name);
  if (!known || (!rename_unwanted(name) && known->phase == Phase::kAdded)) {
    const auto on_memory = write_on_memory(attachment);
    if (!on_memory)
      return fail(written.error().code, "{}, and {}", written.error().message, on_memory.error().message);
  }
  const std::scoped_lock lock(mutex_);
  attachments_.insert_or_assign(name, std::move(attachment));
  return {};
}

Result<void> Journal::write_on_memory(const Attachment& attachment) const {
  const auto file = file_on_memory(attachment.name());
  std::error_code failed;
  std::filesystem::create_directories(file.parent_path(), failed);
  if (failed) return fail_errno(fmt::format("create {}", file.parent_path().string()), failed.value());
  ::chmod(memory_.c_str(), 0700);
  return write_whole(file.string(), boost::json::serialize(to_json(attachment)), true);
}

// That takes no room on a disk. One that has that name by now, as a plugin gave it, keeps it.
Result<void> Journal::rename_unwanted(const std::string& name) const {
  const auto unwanted = file_of(name, kUnwanted);
  const bool is_new = ::rename(file_of(name, kNoted).c_str(), unwanted.c_str()) == 0;
  if (!is_new && (errno != ENOENT || ::access(unwanted.c_str(), F_OK) != 0))
    return fail_errno("rename", errno);
  const UniqueFd folder(::open((folder_ / kAttachments).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!folder || ::fsync(folder.get()) != 0) return fail_errno("fsync", errno);
  return {};
}

Result<void> Journal::forget(const std::string& name) {
  Result<void> gone;
  // That on memory last: it says that the others do not count.
  for (const auto& file : {file_of(name, kNoted), file_of(name, kUnwanted), file_on_memory(name)}) {
    if (gone) gone = remove_file(file);
  }
  const std::scoped_lock lock(mutex_);
  const auto at = attachments_.find(name);
  if (at == attachments_.end()) return {};  // a file that nobody can read, which says nothing
  if (gone) {
    attachments_.erase(at);
    return {};
  }
  at->second.phase = Phase::kDeleting;
  std::ignore = write_on_memory(at->second);
  return gone;
}

std::vector<std::filesystem::path> Journal::left_behind() const {
  std::vector<std::filesystem::path> files;
  std::error_code ignored;
  for (const auto& folder : {folder_, memory_}) {
    for (const auto& entry : std::filesystem::directory_iterator(folder / kDeletes, ignored)) {
      if (entry.path().extension() == kNoted) files.push_back(entry.path());
    }
  }
  std::ranges::sort(files);
  return files;
}

}  // namespace ocicat::cni
