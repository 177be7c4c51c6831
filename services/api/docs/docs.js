/* global SwaggerUIBundle */

const form = document.getElementById('sign-in');
const signOut = document.getElementById('sign-out');
const session = document.getElementById('session');

const ui = SwaggerUIBundle({
  url: '/openapi.json',
  dom_id: '#swagger-ui',
  deepLinking: true,
  displayRequestDuration: true,
  defaultModelsExpandDepth: 0,
  tryItOutEnabled: true,
  validatorUrl: null,
});

let accessToken;

/** Sends a POST; gives the answer, or says what the problem document says. */
async function post(path, body) {
  const response = await fetch(path, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json', ...(accessToken && { Authorization: `Bearer ${accessToken}` }) },
    body: JSON.stringify(body),
  });
  const answer = response.status === 204 ? {} : await response.json();
  if (!response.ok) throw new Error(answer.detail ?? answer.title);
  return answer;
}

/** Says who is signed in; the token stays in this page's memory and goes with it. */
function show(text, isSignedIn) {
  session.textContent = text;
  form.hidden = isSignedIn;
  signOut.hidden = !isSignedIn;
}

form.addEventListener('submit', async event => {
  event.preventDefault();
  const { email, password } = Object.fromEntries(new FormData(form));
  try {
    const answer = await post('/auth/login', { email, password, device: 'API page' });
    accessToken = answer.accessToken;
    ui.preauthorizeApiKey('bearer', accessToken);
    form.reset();
    show(`Signed in as ${answer.user.email} (${answer.user.role}) for ${Math.round(answer.expiresIn / 60)} minutes.`, true);
  } catch (error) {
    show(error.message, false);
  }
});

signOut.addEventListener('click', async () => {
  await post('/auth/logout', {}).catch(() => undefined);
  accessToken = undefined;
  ui.authActions.logout(['bearer']);
  show('Signed out.', false);
});
