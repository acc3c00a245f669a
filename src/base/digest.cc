#include "base/digest.h"

#include <openssl/evp.h>

#include <memory>

#include "base/result.h"

namespace ocicat {

namespace {

using Context = std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)>;

Context context_of(const EVP_MD* algorithm) {
  Context context{EVP_MD_CTX_new(), &EVP_MD_CTX_free};
  CHECK(algorithm != nullptr && context && EVP_DigestInit_ex(context.get(), algorithm, nullptr) == 1);
  return context;
}

// The first bytes of what the context makes of it.
template <class Bytes>
Bytes first_bytes(EVP_MD_CTX* context, std::string_view text) {
  std::array<unsigned char, EVP_MAX_MD_SIZE> whole{};
  unsigned length = 0;
  CHECK(EVP_DigestInit_ex(context, nullptr, nullptr) == 1 &&  // anew, with what it has
        EVP_DigestUpdate(context, text.data(), text.size()) == 1 &&
        EVP_DigestFinal_ex(context, whole.data(), &length) == 1);
  Bytes bytes{};
  CHECK(length >= bytes.size());
  std::memcpy(bytes.data(), whole.data(), bytes.size());
  return bytes;
}

}  // namespace

// OpenSSL takes longer to find an algorithm than to hash a few bytes with it, so each is found once.

Digest Digest::of(std::string_view meaning) {
  static const EVP_MD* const algorithm = EVP_MD_fetch(nullptr, "SHA256", nullptr);
  thread_local const Context context = context_of(algorithm);
  return {first_bytes<decltype(bytes)>(context.get(), meaning)};
}

std::array<std::uint8_t, 20> sha1(std::string_view text) {
  static const EVP_MD* const algorithm = EVP_MD_fetch(nullptr, "SHA1", nullptr);
  thread_local const Context context = context_of(algorithm);
  return first_bytes<std::array<std::uint8_t, 20>>(context.get(), text);
}

std::string Digest::to_hex() const {
  std::string text;
  for (const auto byte : bytes) text += fmt::format("{:02x}", byte);
  return text;
}

}  // namespace ocicat
