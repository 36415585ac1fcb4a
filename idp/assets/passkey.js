'use strict';
// Fills in the forms that a passkey answers. Without a browser that has passkeys they stay hidden.
for (const form of document.querySelectorAll('form[data-passkey]')) {
  if (!window.PublicKeyCredential || !PublicKeyCredential.parseRequestOptionsFromJSON) continue;
  form.hidden = false;
  const said = form.querySelector('[role=alert]');
  form.addEventListener('submit', async (event) => {
    event.preventDefault();
    const button = form.querySelector('button');
    const options = JSON.parse(form.dataset.options);
    button.disabled = true;
    said.hidden = true;
    try {
      const credential = form.dataset.passkey === 'create'
        ? await navigator.credentials.create({ publicKey: PublicKeyCredential.parseCreationOptionsFromJSON(options) })
        : await navigator.credentials.get({ publicKey: PublicKeyCredential.parseRequestOptionsFromJSON(options) });
      form.elements.answer.value = JSON.stringify(credential.toJSON());
      form.submit();
    } catch (error) {
      said.textContent = error.name === 'InvalidStateError' ? 'This device has a passkey for you already.' : 'There was no passkey, or it took too long. Try again.';
      said.hidden = false;
      button.disabled = false;
    }
  });
}
