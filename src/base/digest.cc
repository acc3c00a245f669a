#include "base/digest.h"

#include <openssl/evp.h>

#include <memory>

#include "base/result.h"

namespace ocicat {

namespace {

using Context = std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)>;

// OpenSSL takes longer to find an algorithm than to hash a few bytes with it, so it is found once.
Context sha256() {
  static const EVP_MD* const algorithm = EVP_MD_fetch(nullptr, "SHA256", nullptr);
  Context context{EVP_MD_CTX_new(), &EVP_MD_CTX_free};
  CHECK(algorithm != nullptr && context && EVP_DigestInit_ex(context.get(), algorithm, nullptr) == 1);
  return context;
}

}  // namespace

Digest Digest::of(std::string_view meaning) {
  thread_local const Context context = sha256();
  std::array<unsigned char, EVP_MAX_MD_SIZE> whole{};
  unsigned length = 0;
  CHECK(EVP_DigestInit_ex(context.get(), nullptr, nullptr) == 1 &&  // anew, with what it has
        EVP_DigestUpdate(context.get(), meaning.data(), meaning.size()) == 1 &&
        EVP_DigestFinal_ex(context.get(), whole.data(), &length) == 1);
  Digest digest;
  CHECK(length >= digest.bytes.size());
  std::memcpy(digest.bytes.data(), whole.data(), digest.bytes.size());
  return digest;
}

std::string Digest::to_hex() const {
  std::string text;
  for (const auto byte : bytes) text += fmt::format("{:02x}", byte);
  return text;
}

}  // namespace ocicat
