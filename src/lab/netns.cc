#include "lab/netns.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <thread>

namespace ocicat::lab {
namespace {

constexpr const char* kFolder = "/run/netns";

std::string path_of(const std::string& name) {
  return fmt::format("{}/{}", kFolder, name);
}

Result<void> on_a_thread_of_its_own(const std::function<Result<void>()>& work) {
  Result<void> result;
  std::thread([&] { result = work(); }).join();
  return result;
}

// The folder must be a shared mount: else other mount namespaces keep copies of what we unmount, and with
// them the network namespaces alive. Several of us may come here at once, hence the lock; iproute2 takes the
// same.
Result<void> prepare_folder() {
  std::error_code failed;
  std::filesystem::create_directories(kFolder, failed);
  if (failed) return fail_errno(fmt::format("create {}", kFolder), failed.value());
  const UniqueFd folder(open(kFolder, O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!folder || flock(folder.get(), LOCK_EX) != 0) return fail_errno("lock /run/netns", errno);
  if (mount("", kFolder, "none", MS_SHARED | MS_REC, nullptr) == 0) return {};
  if (errno != EINVAL) return fail_errno("share /run/netns", errno);
  if (mount(kFolder, kFolder, "none", MS_BIND | MS_REC, nullptr) != 0)
    return fail_errno("bind /run/netns", errno);
  if (mount("", kFolder, "none", MS_SHARED | MS_REC, nullptr) != 0)
    return fail_errno("share /run/netns", errno);
  return {};
}

}  // namespace

std::vector<std::string> namespaces() {
  std::vector<std::string> names;
  std::error_code ignored;
  for (const auto& entry : std::filesystem::directory_iterator(kFolder, ignored)) {
    names.push_back(entry.path().filename().string());
  }
  std::ranges::sort(names);
  return names;
}

Result<void> create_namespace(const std::string& name) {
  TRY_VOID(prepare_folder());
  const auto path = path_of(name);
  const UniqueFd file(open(path.c_str(), O_RDONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0));
  if (!file && errno == EEXIST)
    return fail(ErrorCode::kAlreadyExists, "network namespace {} is there already", name);
  if (!file) return fail_errno(path, errno);
  return on_a_thread_of_its_own([&]() -> Result<void> {
    if (unshare(CLONE_NEWNET) != 0) return fail_errno("make a network namespace", errno);
    if (mount("/proc/thread-self/ns/net", path.c_str(), "none", MS_BIND, nullptr) != 0) {
      return fail_errno(fmt::format("name network namespace {}", name), errno);
    }
    return {};
  });
}

Result<void> delete_namespace(const std::string& name) {
  const auto path = path_of(name);
  umount2(path.c_str(), MNT_DETACH);  // not mounted where creation was cut short
  if (unlink(path.c_str()) != 0 && errno != ENOENT) return fail_errno(fmt::format("remove {}", path), errno);
  return {};
}

Result<UniqueFd> open_namespace(const std::string& name) {
  UniqueFd file(open(path_of(name).c_str(), O_RDONLY | O_CLOEXEC));
  if (!file && errno == ENOENT) return fail(ErrorCode::kNotFound, "there is no network namespace {}", name);
  if (!file) return fail_errno(path_of(name), errno);
  return file;
}

Result<void> in_namespace(const std::string& name, const std::function<Result<void>()>& work) {
  return on_a_thread_of_its_own([&]() -> Result<void> {
    TRY_VOID(enter_namespace(name));
    return work();
  });
}

Result<void> enter_namespace(const std::string& name) {
  TRY(const auto file, open_namespace(name));
  if (setns(file.get(), CLONE_NEWNET) != 0)
    return fail_errno(fmt::format("enter network namespace {}", name), errno);
  return {};
}

Result<void> set_sysctl(std::string_view path, std::string_view value) {
  const auto full = fmt::format("/proc/sys/{}", path);
  const UniqueFd file(open(full.c_str(), O_WRONLY | O_CLOEXEC));
  if (!file || write(file.get(), value.data(), value.size()) < 0) return fail_errno(full, errno);
  return {};
}

}  // namespace ocicat::lab
