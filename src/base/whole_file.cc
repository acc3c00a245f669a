#include "base/whole_file.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include <array>
#include <cerrno>

#include "base/unique_fd.h"

namespace ocicat {

std::string read_whole(const std::string& path) {
  const UniqueFd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  std::string text;
  std::array<char, 4096> buffer{};
  while (file) {
    const auto size = ::read(file.get(), buffer.data(), buffer.size());
    if (size < 0) return {};
    if (size == 0) break;
    text.append(buffer.data(), static_cast<std::size_t>(size));
  }
  return text;
}

Result<void> write_whole(const std::string& path, std::string_view text, bool durable) {
  const std::string beside = path + ".new";
  {
    const UniqueFd file(::open(beside.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
    if (!file) return fail_errno(fmt::format("write {}", beside), errno);
    const auto written = ::write(file.get(), text.data(), text.size());
    if (written != static_cast<ssize_t>(text.size()))
      return fail_errno(fmt::format("write {}", beside), written < 0 ? errno : ENOSPC);
    if (durable && ::fsync(file.get()) != 0)
      return fail_errno(fmt::format("write {} to disk", beside), errno);
  }
  if (::rename(beside.c_str(), path.c_str()) != 0) return fail_errno(fmt::format("write {}", path), errno);
  if (!durable) return {};
  const UniqueFd folder(
      ::open(path.substr(0, path.rfind('/') + 1).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!folder || ::fsync(folder.get()) != 0) return fail_errno(fmt::format("write {} to disk", path), errno);
  return {};
}

}  // namespace ocicat
